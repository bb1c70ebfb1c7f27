"""From chat turns to token ids, with the model's own chat template, so that nothing in a turn can pass for a part of the template.

A template is rendered with a marker in the place of each turn's content. Special tokens are looked for in what the template wrote
and nowhere else; the text between two of them, template and contents together, is encoded as one run in which special tokens are
plain text. For contents that hold none, the ids are the same as those of `apply_chat_template`.

A model without a template gets `System: ...`, `User: ...`, `Assistant: ...` paragraphs, and its answers end where it starts a new
one. A template that knows no system turn gets that text at the head of the first user turn.
"""

import copy
import re
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from matrix_core.request import Message

_PLAIN = (
    "{% for m in messages %}{{ m['role'] | capitalize }}: {{ m['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_PLAIN_STOPS = ("\nUser:", "\nSystem:")

# A content is marked by its number between private-use characters; an em space on either side shows whether the template strips.
_MARK, _EDGE = "\ue000", "\u2003"
_MARKED = re.compile(f"({_EDGE}?){_MARK}([0-9]+){_MARK}({_EDGE}?)")


class ChatError(ValueError):
    """A chat that the model's template can't render."""


class _Slot(NamedTuple):
    """The place of one turn's content within a run."""

    turn: int
    lstrip: bool
    rstrip: bool

    def fill(self, content: str) -> str:
        content = content.lstrip() if self.lstrip else content
        return content.rstrip() if self.rstrip else content


class _Run(NamedTuple):
    """Text between two special tokens, which may swallow the white space next to them."""

    parts: tuple[str | _Slot, ...]
    lstrip: bool
    rstrip: bool
    lead: str

    def text(self, messages: Sequence[Message]) -> str:
        joined = "".join(part if isinstance(part, str) else part.fill(messages[part.turn].content) for part in self.parts)
        joined = joined.lstrip() if self.lstrip else joined
        joined = joined.rstrip() if self.rstrip else joined
        # Half a surrogate pair is no character, and tokenizers refuse it.
        return self.lead + joined.encode("utf-8", "replace").decode() if joined else ""


_Skeleton = tuple[int | _Run, ...]


class Chat:
    """Encodes and decodes for one tokenizer. Safe to call from several threads."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = copy.deepcopy(tokenizer)
        self._template = None if tokenizer.chat_template else _PLAIN
        self._opening = [] if tokenizer.chat_template else _opening(tokenizer)
        self.stops: tuple[str, ...] = () if tokenizer.chat_template else _PLAIN_STOPS
        self._special = {token.content: (i, token) for i, token in tokenizer.added_tokens_decoder.items()}
        longest_first = sorted(self._special, key=len, reverse=True)
        self._splitter = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else re.compile("(?!)()")
        self._lead = _lead(tokenizer)
        self._skeletons: dict[tuple[str, ...], _Skeleton | ChatError] = {}
        self._lock = threading.Lock()

    def encode(self, chats: Sequence[Sequence[Message]], answer_next: bool = True) -> list[list[int] | ChatError]:
        """Token ids of each chat, with the opening of the assistant's answer unless `answer_next` is false.

        A chat that the template can't render gets the error instead.
        """
        with self._lock:
            planned = [self._plan(list(chat), answer_next) for chat in chats]
            runs: dict[str, list[int]] = {}
            for messages, skeleton in planned:
                if not isinstance(skeleton, ChatError):
                    runs.update((piece.text(messages), []) for piece in skeleton if isinstance(piece, _Run))
            texts = [text for text in runs if text]
            if texts:
                runs.update(zip(texts, self._ids(texts), strict=True))
        out: list[list[int] | ChatError] = []
        for messages, skeleton in planned:
            if isinstance(skeleton, ChatError):
                out.append(skeleton)
                continue
            ids = list(self._opening)
            for piece in skeleton:
                if isinstance(piece, _Run):
                    ids += runs[piece.text(messages)]
                else:
                    ids.append(piece)
            out.append(ids)
        return out

    def _ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of runs, special tokens in them being text."""
        encoded = self._tokenizer([*texts, self._lead], add_special_tokens=False, split_special_tokens=True)["input_ids"]
        *out, lead = (list(ids) for ids in encoded)
        return [ids[len(lead) :] if lead and ids[: len(lead)] == lead else ids for ids in out]

    def decode(self, answers: Sequence[Sequence[int]]) -> list[str]:
        """Texts of token ids, special tokens left out."""
        with self._lock:
            return [
                self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in answers
            ]

    def _plan(self, messages: list[Message], answer_next: bool) -> tuple[list[Message], _Skeleton | ChatError]:
        """The turns as the template takes them, and where they go."""
        skeleton = self._skeleton(messages, answer_next)
        if isinstance(skeleton, ChatError) and messages[0].role == "system":
            folded = _fold(messages)
            second = self._skeleton(folded, answer_next)
            if not isinstance(second, ChatError):
                return folded, second
        return messages, skeleton

    def _skeleton(self, messages: Sequence[Message], answer_next: bool) -> _Skeleton | ChatError:
        key = (*(m.role for m in messages), "..." if answer_next else "")
        if key not in self._skeletons:
            try:
                self._skeletons[key] = self._split(self._render(messages, answer_next), len(messages))
            except ChatError as error:
                self._skeletons[key] = error
        return self._skeletons[key]

    def _render(self, messages: Sequence[Message], answer_next: bool) -> str:
        import jinja2

        marked = [{"role": m.role, "content": f"{_EDGE}{_MARK}{i}{_MARK}{_EDGE}"} for i, m in enumerate(messages)]
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    marked,
                    chat_template=self._template,
                    tokenize=False,
                    add_generation_prompt=answer_next,
                    # Models that think aloud unless told otherwise: the answer is wanted, and nothing before it.
                    enable_thinking=False,
                )
            )
        except jinja2.TemplateError as error:
            raise ChatError(f"the model's chat template can't render {'/'.join(m.role for m in messages)} turns: {error}") from None

    def _split(self, rendered: str, turns: int) -> _Skeleton:
        pieces: list[int | _Run] = []
        swallow = False
        found = set()
        for text in self._splitter.split(rendered):
            if text in self._special:
                token, added = self._special[text]
                if added.lstrip and pieces and isinstance(pieces[-1], _Run):
                    pieces[-1] = pieces[-1]._replace(rstrip=True)
                pieces.append(token)
                swallow = added.rstrip
            elif text:
                parts = _slots(text)
                found |= {part.turn for part in parts if isinstance(part, _Slot)}
                pieces.append(_Run(parts, swallow, False, self._lead if pieces else ""))
                swallow = False
        if len(found) < turns:
            raise ChatError(f"the model's chat template leaves out turn {min(set(range(turns)) - found) + 1} of {turns}")
        return tuple(pieces)


def _slots(text: str) -> tuple[str | _Slot, ...]:
    parts: list[str | _Slot] = []
    end = 0
    for match in _MARKED.finditer(text):
        parts += [text[end : match.start()], _Slot(int(match[2]), not match[1], not match[3])]
        end = match.end()
    return (*parts, text[end:])


def _fold(messages: Sequence[Message]) -> list[Message]:
    """The system text at the head of the first user turn."""
    system, *rest = messages
    for i, message in enumerate(rest):
        if message.role == "user":
            rest[i] = Message(role="user", content=f"{system.content}\n\n{message.content}")
            return rest
    return [Message(role="user", content=system.content), *rest]


def _opening(tokenizer: Any) -> list[int]:
    """The token that a model without a template expects before any text, if there is one."""
    first = tokenizer("")["input_ids"][:1]
    return list(first) if first and first[0] == tokenizer.bos_token_id else []


def _lead(tokenizer: Any) -> str:
    """What is put before a run and taken off its ids again.

    Some tokenizers begin a text with a space of their own, but not behind a special token, where runs stand: a line break takes it.
    """
    if not tokenizer.all_special_tokens:
        return ""
    special = tokenizer.all_special_tokens[0]
    behind = tokenizer(f"{special}a", add_special_tokens=False)["input_ids"][1:]
    return "" if behind == tokenizer("a", add_special_tokens=False)["input_ids"] else "\n"
