"""What a browser would see of a page."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of style sheets, with single spaces."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._in_style = "", False
        self.feed(html)
        self.text = re.sub(r"[ \t\n]+", " ", self.text).strip()  # not the narrow spaces inside of numbers

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._in_style else f" {data}"
