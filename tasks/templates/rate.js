"use strict";
// The program of the rating page. Texts only ever become text nodes. What is rated stays in this browser until it is saved to a file.
(() => {
  const dataText = document.getElementById("data").textContent;
  const programText = document.getElementById("program").textContent;
  const faceText = document.getElementById("face").textContent;
  // Nothing else stands here unless somebody has put it here.
  const added = [...document.body.children].filter((one) => !one.matches("script, noscript")).map((one) => one.outerHTML).join("");
  const data = JSON.parse(dataText);
  document.body.insertAdjacentHTML("afterbegin", faceText);

  function sha256(text) {
    const primes = [], K = [], H = [];
    for (let n = 2; K.length < 64; n++) {
      if (primes.some((p) => n % p === 0)) continue;
      primes.push(n);
      if (H.length < 8) H.push((Math.sqrt(n) % 1) * 2 ** 32 | 0);
      K.push((Math.cbrt(n) % 1) * 2 ** 32 | 0);
    }
    const bytes = new TextEncoder().encode(text);
    const size = ((bytes.length + 8) >> 6) + 1;
    const words = new Uint32Array(size * 16);
    bytes.forEach((b, i) => { words[i >> 2] |= b << (24 - 8 * (i & 3)); });
    words[bytes.length >> 2] |= 0x80 << (24 - 8 * (bytes.length & 3));
    words[size * 16 - 2] = Math.floor(bytes.length / 2 ** 29);
    words[size * 16 - 1] = bytes.length << 3;
    const rotate = (x, n) => (x >>> n) | (x << (32 - n));
    const w = new Int32Array(64);
    for (let block = 0; block < words.length; block += 16) {
      for (let i = 0; i < 64; i++) {
        if (i < 16) { w[i] = words[block + i]; continue; }
        const a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3)) + (rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10));
      }
      let [a, b, c, d, e, f, g, h] = H;
      for (let i = 0; i < 64; i++) {
        const t = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
        const u = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        [a, b, c, d, e, f, g, h] = [(t + u) | 0, a, b, c, (d + t) | 0, e, f, g];
      }
      [a, b, c, d, e, f, g, h].forEach((x, i) => { H[i] = (H[i] + x) | 0; });
    }
    return H.map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
  }

  const page = sha256([dataText, programText, faceText].join("\n") + added);
  const storageKey = "matrix-align-rating-" + page;
  const choices = { a: "a", 1: "a", ArrowLeft: "a", b: "b", 2: "b", ArrowRight: "b", t: "tie", 0: "tie", ArrowDown: "tie" };
  const at = (id) => document.getElementById(id);
  let state = { rater: "", position: 0, answers: {} };
  let shownSince = performance.now();

  function load() {
    try {
      const kept = JSON.parse(localStorage.getItem(storageKey));
      if (kept && typeof kept.rater === "string" && typeof kept.answers === "object") state = kept;
    } catch { /* nothing kept, or a browser that keeps nothing: rating works all the same */ }
  }

  function keep() {
    try {
      localStorage.setItem(storageKey, JSON.stringify(state));
      at("kept").textContent = "kept in this browser";
    } catch {
      at("kept").textContent = "this browser keeps nothing: save before you leave";
    }
  }

  function show() {
    const started = state.rater !== "";
    const done = Object.keys(state.answers).length;
    const over = state.position >= data.items.length;
    at("start").hidden = started;
    at("rating").hidden = !started || over;
    at("finish").hidden = !started || !over;
    at("bar").hidden = !started;
    at("progress").max = data.items.length;
    at("progress").value = done;
    at("count").textContent = done + " of " + data.items.length;
    at("back").disabled = state.position === 0;
    if (started && !over) {
      const item = data.items[state.position];
      at("prompt").textContent = item.prompt;
      at("answer-a").textContent = item.a;
      at("answer-b").textContent = item.b;
      const chosen = (state.answers[item.id] || {}).choice;
      for (const button of document.querySelectorAll("[data-choice]")) {
        button.setAttribute("aria-pressed", String(button.dataset.choice === chosen));
      }
      at("where").textContent = "Pair " + (state.position + 1) + " of " + data.items.length;
      window.scrollTo(0, 0);
      shownSince = performance.now();
    }
    if (started && over) {
      const missing = data.items.filter((item) => !state.answers[item.id]).length;
      at("missing").textContent = missing ? missing + " pairs are not rated yet: go back, or save what there is." : "All pairs are rated.";
      at("result").value = result();
    }
  }

  function choose(choice) {
    const item = data.items[state.position];
    if (!state.rater || !item) return;
    const seconds = Math.round((performance.now() - shownSince) / 100) / 10;
    const before = (state.answers[item.id] || { seconds: 0 }).seconds;
    state.answers[item.id] = { choice, seconds: Math.round((before + seconds) * 10) / 10 };
    state.position += 1;
    keep();
    show();
  }

  function back() {
    if (state.position > 0) { state.position -= 1; keep(); show(); }
  }

  // One line each, so that both sides seal the same text.
  function result() {
    const rows = data.items.filter((item) => state.answers[item.id]).map((item) => {
      const answer = state.answers[item.id];
      return { id: item.id, choice: answer.choice, seconds: String(answer.seconds), shown: sha256([item.prompt, item.a, item.b].join("\n")) };
    });
    const sealed = [page, data.run, state.rater, ...rows.map((row) => [row.id, row.choice, row.seconds, row.shown].join(" "))].join("\n");
    return JSON.stringify({ kind: "matrix-align ratings 1", page, run: data.run, rater: state.rater, ratings: rows, seal: sha256(sealed) }, null, 1);
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([result()], { type: "application/json" }));
    link.download = "ratings-" + state.rater.replace(/[^A-Za-z0-9_-]+/g, "-") + "-" + page.slice(0, 8) + ".json";
    document.body.append(link);
    link.click();
    link.remove();
  }

  at("title").textContent = data.title;
  for (const text of data.instructions) {
    const line = document.createElement("li");
    line.textContent = text;
    at("instructions").append(line);
  }
  at("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = at("rater").value.trim().replace(/\s+/g, " ");
    at("rater").blur(); // a hidden field would swallow the first keys
    if (name) { state.rater = name.slice(0, 60); keep(); show(); }
  });
  for (const button of document.querySelectorAll("[data-choice]")) {
    button.addEventListener("click", () => choose(button.dataset.choice));
  }
  at("back").addEventListener("click", back);
  at("save").addEventListener("click", save);
  at("save-all").addEventListener("click", save);
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea") || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "u" || key === "Backspace") { event.preventDefault(); back(); }
    else if (key === "s") { event.preventDefault(); save(); }
    else if (choices[key]) { event.preventDefault(); choose(choices[key]); }
  });
  load();
  show();
})();
