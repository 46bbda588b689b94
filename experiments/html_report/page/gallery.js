// The clips, the tools over them, and the keys.

const SPEEDS = [0.25, 0.5, 1, 2];
const VIEWS = {
  beside: "side by side",
  attention: "attention",
  stretched: "attention, stretched",
  plain: "frame",
};
const HEADINGS = {
  attention: "Clips and where the model looks",
  evidence: "Clips and what speaks for what they are taken for",
};
const SORTS = {
  most: "most confident",
  least: "least confident",
  name: "name",
};
const KEYS = [
  [["Tab"], "from tool to tool, and from clip to clip"],
  [["j", "k"], "next clip, previous clip"],
  [["Space"], "play or pause the clip"],
  [["←", "→"], "one frame back, one frame on"],
  [["Home", "End"], "first frame, last frame"],
  [["p"], "play or pause all clips in view"],
  [["o"], "attention, or the evidence, on or off"],
  [["v"], "next view"],
  [["[", "]"], "slower, faster"],
  [["x"], "show all clips again"],
  [["?"], "show or hide this list"],
];

class Gallery {
  /** onFilter(label, predicted) is called with the classes that the clips are limited to, null for any. */
  constructor(report, onFilter) {
    this.report = report;
    this.onFilter = onFilter;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.clips = report.clips.map((_, index) => new Clip(report, index));
    this.shown = this.clips;
    this.playing = !this.calm.matches;
    this.build();
    this.watch();
    this.apply();
    this.setPlaying(this.playing);
    this.setView(report.explain ? "beside" : "plain");
  }

  build() {
    const { classes, explain } = this.report;
    const any = [["", "any"], ...classes.map((name, n) => [n, name])];
    const views = Object.entries(VIEWS).map(([view, name]) => [view, name.replace("attention", explain)]);
    const filter = () => this.apply();
    this.tools = {
      label: select("Class", any, "", filter),
      predicted: select("Taken for", any, "", filter),
      verdict: select("Right or wrong", [["", "both"], ["right", "right"], ["wrong", "wrong"]], "", filter),
      sort: select("Order", Object.entries(SORTS), "most", filter),
      view: select("View", views, "plain", () => this.setView(this.value("view"))),
      speed: select("Speed", SPEEDS.map((speed) => [speed, `${speed} ×`]), 1, () => {}),
    };
    if (!explain) this.tools.view.hidden = true;
    this.playAll = make("button", { type: "button", class: "main", id: "play-all", click: () => this.setPlaying(!this.playing) });
    this.clear = make("button", { type: "button", id: "clear", click: () => this.filter("", "") }, "Show all");
    this.said = make("p", { role: "status", id: "count" });
    this.cards = make("ul", { class: "cards" });
    this.keys = make(
      "details", { class: "keys" }, make("summary", {}, "Keys, while the focus is in the gallery"),
      make("dl", {}, ...KEYS.flatMap(([keys, what]) => [
        make("dt", {}, ...keys.flatMap((key, n) => [n ? " " : "", make("kbd", {}, key)])), make("dd", {}, what),
      ])),
    );
    const notes = this.notes();
    this.element = make(
      "section", { id: "gallery", tabindex: "-1", "aria-labelledby": "gallery-title", keydown: (event) => this.press(event) },
      make("h2", { id: "gallery-title" }, HEADINGS[explain] ?? "Clips"),
      ...notes.map((note) => make("p", { class: "muted" }, note)),
      ...(this.clips.length ? [
        make("div", { class: "tools" }, ...Object.values(this.tools), this.playAll),
        make("div", { class: "status" }, this.said, this.clear),
        this.cards, this.keys,
      ] : []),
    );
  }

  notes() {
    const { report, clips } = this;
    const notes = [];
    if (report.explain) {
      notes.push((report.explain === "attention"
        ? "White is where the model looks, the brighter the more; each step is scaled to its own maximum, as in the "
          + "paper, so a white veil over all is a model that looks everywhere."
        : "White is what speaks for the class that the block is taken for, the brighter the more: the attended features "
          + "times the gradient of its log-probability, where positive; each step is scaled to its own maximum. Where "
          + "nothing speaks for the class, the frame stays dark.")
        + " “Stretched” also makes each step’s minimum "
        + "black, and exaggerates. The curve is the probability of the class that was said, frame by frame"
        + (clips.some((clip) => clip.drawn.length > 1) ? "; dashed, that of the clip’s own class." : "."));
    } else {
      notes.push("This model has no attention: the frames are shown as they are. The curve is the probability of the class "
        + "that was said, frame by frame. A report with --explain=evidence shows what speaks for that class.");
    }
    const all = report.scores.num_videos;
    if (clips.length < all) {
      notes.push(`${clips.length || "None"} of the ${all} clips are here (--max_clips)`
        + (clips.length ? ": of every class in turn the most confident right one and the most confident wrong one" : "")
        + ". The scores above are of all.");
    }
    if (clips.some((clip) => clip.data.every > 1)) {
      notes.push(`Of a clip at most ${report.max_frames} frames are shown, evenly spaced.`);
    }
    const missing = clips.filter((clip) => clip.data.missing).length;
    if (missing) {
      notes.push(`The frames of ${missing === clips.length ? "all" : missing} ${plural(clips.length, "clip")} could not be read`
        + (report.explain ? `, so their ${report.explain} is shown alone: ` : ": ")
        + clips.find((clip) => clip.data.missing).data.missing);
    }
    return notes;
  }

  value(tool) {
    return this.tools[tool].lastChild.value;
  }

  set(tool, value) {
    this.tools[tool].lastChild.value = value;
  }

  /** Limits the gallery to clips of one class with one predicted class; "" is any. */
  filter(label, predicted) {
    this.set("label", label);
    this.set("predicted", predicted);
    this.set("verdict", "");
    this.apply();
  }

  /** Shows the clips that the tools ask for, in the order they ask for. */
  apply() {
    const [label, predicted] = ["label", "predicted"].map((tool) => (this.value(tool) === "" ? null : Number(this.value(tool))));
    const verdict = this.value("verdict");
    const wanted = ({ data }) =>
      (label === null || data.labels.includes(label)) && (predicted === null || data.predicted === predicted)
      && (!verdict || data.right === (verdict === "right"));
    const byName = (a, b) => (a.data.name < b.data.name ? -1 : a.data.name > b.data.name ? 1 : 0);
    const order = {
      most: (a, b) => b.confidence - a.confidence || byName(a, b),
      least: (a, b) => a.confidence - b.confidence || byName(a, b),
      name: byName,
    }[this.value("sort")];
    this.shown = this.clips.filter(wanted).sort(order);
    this.cards.replaceChildren(...this.shown.map((clip) => clip.element));
    const filtered = label !== null || predicted !== null || verdict !== "";
    const some = `${this.shown.length} of ${plural(this.clips.length, "clip")}`;
    this.said.textContent = filtered ? some : plural(this.clips.length, "clip");
    if (label !== null && predicted !== null && !verdict && this.report.confusion) {
      const all = this.report.confusion[label][predicted];
      if (all > this.shown.length) this.said.textContent = `${this.shown.length} of the ${all} clips of this kind are here`;
    }
    this.clear.hidden = !filtered;
    this.onFilter(label, predicted);
  }

  setView(view) {
    if (view !== "plain") this.lastView = view;
    this.set("view", view);
    this.cards.classList.toggle("beside", view === "beside");
    for (const clip of this.clips) clip.show(view);
  }

  setPlaying(on) {
    this.playing = on;
    for (const clip of this.clips) clip.play(on);
  }

  /** Tracks which clips are in view and which of them play. */
  watch() {
    this.cards.addEventListener("playing", () => {
      this.playing = this.clips.some((clip) => clip.playing);
      this.playAll.textContent = this.playing ? "Pause all" : "Play all";
      this.start();
    });
    const byElement = new Map(this.clips.map((clip) => [clip.element, clip]));
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) byElement.get(entry.target).see(entry.isIntersecting);
      this.start();
    }, { rootMargin: "120px" });
    for (const clip of this.clips) observer.observe(clip.element);
    this.calm.addEventListener("change", () => this.calm.matches && this.setPlaying(false));
  }

  /** Advances the clips that play and are in view; stops when there is none. */
  start() {
    if (this.turning) return;
    this.turning = true;
    let last = null;
    const turn = (now) => {
      const moving = this.shown.filter((clip) => clip.playing && clip.visible);
      const seconds = last === null ? 0 : Math.min(0.25, (now - last) / 1000);
      last = now;
      for (const clip of moving) clip.advance(seconds * Number(this.value("speed")));
      this.turning = moving.length > 0;
      if (this.turning) requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const clip = this.shown.find(({ card }) => card.contains(event.target)) ?? null;
    const onCard = clip !== null && event.target === clip.card;
    const act = this.keyOfGallery(event.key, clip) ?? (onCard ? this.keyOfClip(event.key, clip) : null);
    if (!act) return;
    event.preventDefault();
    act();
  }

  keyOfGallery(key, clip) {
    const views = Object.keys(VIEWS), has = this.report.explain;
    const go = (step) => this.shown[clip ? this.shown.indexOf(clip) + step : 0]?.card.focus();
    return {
      j: () => go(1),
      k: () => go(-1),
      p: () => this.setPlaying(!this.playing),
      o: () => has && this.setView(this.value("view") === "plain" ? this.lastView : "plain"),
      v: () => has && this.setView(views[(views.indexOf(this.value("view")) + 1) % views.length]),
      "[": () => this.changeSpeed(-1),
      "]": () => this.changeSpeed(1),
      x: () => this.filter("", ""),
      "?": () => { this.keys.open = !this.keys.open; },
    }[key];
  }

  keyOfClip(key, clip) {
    const seek = (frame) => { clip.play(false); clip.seek(frame); };
    return {
      " ": () => clip.toggle(),
      Enter: () => clip.toggle(),
      ArrowLeft: () => seek(clip.shown - 1),
      ArrowRight: () => seek(clip.shown + 1),
      Home: () => seek(0),
      End: () => seek(clip.count - 1),
    }[key];
  }

  changeSpeed(step) {
    const index = SPEEDS.indexOf(Number(this.value("speed"))) + step;
    this.set("speed", SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, index))]);
  }
}

/** A labelled select element. */
function select(name, options, value, change) {
  const choice = make(
    "select", { name: name.toLowerCase().replaceAll(" ", "-"), change },
    ...options.map(([key, text]) => make("option", { value: key }, text)),
  );
  choice.value = value;
  return make("label", {}, name, choice);
}
