// One clip of the gallery: its frames, the attention over them, and the predictions at each.

const DIM = 0.2; // the share of the frame in the picture; the rest is white where the model looks, as in experiments/overlay.py
const TOP_CLASSES = 5;

/**
 * Enlarges the attention of one step to the size of a frame.
 *
 * cells: l_t, row by row, [K²]. rows, columns: how each cell colours the pixels of a column and of a row of the frame,
 * [height][K] and [width][K] (experiments/overlay.py, spread). Returns [height · width], in the units of l_t.
 */
function enlarge(cells, rows, columns) {
  const side = columns[0].length;
  const result = new Float32Array(rows.length * columns.length);
  const line = new Float32Array(side);
  for (let y = 0; y < rows.length; y++) {
    for (let j = 0; j < side; j++) {
      line[j] = 0;
      for (let i = 0; i < side; i++) line[j] += rows[y][i] * cells[i * side + j];
    }
    for (let x = 0; x < columns.length; x++) {
      let sum = 0;
      for (let j = 0; j < side; j++) sum += columns[x][j] * line[j];
      result[y * columns.length + x] = sum;
    }
  }
  return result;
}

class Clip {
  constructor(report, index) {
    const data = report.clips[index];
    Object.assign(this, { report, index, data });
    this.count = data.numbers.length;
    this.time = 0; // seconds from the first frame
    this.shown = 0; // the frame that is shown
    this.view = report.explain ? "attention" : "plain";
    this.playing = this.visible = false;
    this.steps = bytes(data.steps);
    this.levels = data.levels ? bytes(data.levels) : null;
    this.attention = report.explain ? bytes(data.attention) : null;
    this.confidence = Math.max(...data.probabilities);
    this.label = data.labels.map((label) => report.classes[label]).join(" | ") || "no class";
    this.predicted = report.classes[data.predicted];
    this.build();
  }

  /** l_t of a shown frame, or the evidence there, [K²]. */
  cells(n) {
    const { num_cells } = this.report, { low, high } = this.data;
    const steps = this.attention.subarray(n * num_cells, (n + 1) * num_cells);
    return Float32Array.from(steps, (step) => low[n] + ((high[n] - low[n]) * step) / 255);
  }

  /** ŷ_t of a class at a shown frame. */
  probability(n, index) {
    return this.steps[n * this.report.classes.length + index] / 255;
  }

  build() {
    const { data } = this;
    this.canvas = make("canvas", { "aria-hidden": "true", click: () => this.toggle() });
    this.icon = draw("path");
    this.button = make(
      "button", { type: "button", click: () => this.toggle() },
      draw("svg", { width: 18, height: 18, viewBox: "0 0 18 18", "aria-hidden": "true" }, this.icon),
    );
    this.slider = make("input", {
      type: "range", min: 0, max: this.count - 1, step: 1, value: 0, "aria-label": "frame",
      input: () => { this.play(false); this.seek(this.slider.valueAsNumber); },
    });
    this.counter = make("span", { class: "counter", "aria-hidden": "true" }); // The slider says it too.
    this.running = make("p", { class: "running muted" });
    const verdict = make(
      "p", { class: "verdict" },
      make("b", { class: data.right ? "right" : "wrong" }, data.right ? "✓ " : "✗ "),
      this.label,
      data.right ? make("span", { class: "muted" }, this.label === this.predicted ? ", recognised" : `: ${this.predicted}`)
        : make("span", {}, make("span", { class: "muted" }, ", taken for "), make("b", { class: "wrong" }, this.predicted)),
      make("span", { class: "muted number" }, ` (${this.confidence.toFixed(2)})`),
    );
    this.element = make(
      "li", {},
      make(
        "article", { class: "card", tabindex: "0", "aria-label": this.describe() },
        make("div", { class: "screen" }, this.canvas),
        make("div", { class: "transport" }, this.button, this.slider, this.counter),
        make(
          "div", { class: "about" },
          make("h3", { title: data.name }, data.name), verdict, this.running, ...this.sparks(), this.bars(),
          data.missing ? make("p", { class: "muted small" }, "The frames are missing.") : null,
        ),
      ),
    );
    this.card = this.element.firstChild;
    this.play(false);
    this.seek(0);
  }

  describe() {
    const verdict = this.data.right ? "right" : `wrong, taken for ${this.predicted}`;
    return `${this.data.name}: ${this.label}, ${verdict}, confidence ${percent(this.confidence, 0)}`;
  }

  /** Over time: the prediction of the predicted class and, if it differs, of the clip's own; and the levels' shares. */
  sparks() {
    const own = this.data.labels.filter((label) => label !== this.data.predicted).slice(0, 1);
    this.drawn = [this.data.predicted, ...(this.data.right ? [] : own)];
    this.cursors = [];
    const prediction = this.spark(this.drawn.map((index) => (i) => this.probability(i, index)));
    if (!this.levels) return [prediction];
    this.sharing = make("p", { class: "running muted" });
    return [prediction, this.sharing, this.spark(this.report.levels.map((_, v) => (i) => this.share(i, v)))];
  }

  /** Curves of values between 0 and 1, functions of the frame, with a cursor. */
  spark(curves) {
    const x = (n) => (this.count > 1 ? (100 * n) / (this.count - 1) : 50);
    const paths = curves.map((value, n) => {
      const points = Array.from({ length: this.count }, (_, i) => `${x(i).toFixed(2)} ${(31 - 30 * value(i)).toFixed(2)}`);
      return draw("path", { class: `line series-${n % 4}`, d: `M${points.join("L")}` });
    });
    const cursor = draw("line", { class: "cursor", y1: 0, y2: 32 });
    this.cursors.push(cursor);
    return draw(
      "svg", { class: "spark", viewBox: "0 0 100 32", preserveAspectRatio: "none", "aria-hidden": "true" },
      ...paths, cursor,
    );
  }

  /** m_t of a level at a shown frame. */
  share(n, level) {
    return this.levels[n * this.report.levels.length + level] / 255;
  }

  bars() {
    const { probabilities, labels } = this.data;
    const order = probabilities.map((_, n) => n).sort((a, b) => probabilities[b] - probabilities[a]);
    return make(
      "dl", { class: "bars", "aria-label": "Probabilities of the whole clip" },
      ...order.slice(0, TOP_CLASSES).flatMap((index) => [
        make("dt", { class: labels.includes(index) ? "own" : null, title: this.report.classes[index] }, this.report.classes[index]),
        make("dd", { "aria-hidden": "true" }, bar(probabilities[index])),
        make("dd", {}, probabilities[index].toFixed(2)),
      ]),
    );
  }

  /** Decodes the frames when the clip comes into view, and frees them when it leaves. */
  see(visible) {
    this.visible = visible;
    if (!visible) {
      this.picture = null;
      return;
    }
    const source = document.getElementById(`picture-${this.index}`);
    if (!source) return this.paint();
    const picture = new Image();
    picture.addEventListener("load", () => {
      if (!this.visible) return;
      this.picture = picture;
      this.paint();
    });
    picture.src = `data:image/jpeg;base64,${source.textContent}`;
  }

  play(on) {
    this.playing = on;
    this.icon.setAttribute("d", on ? "M4 3h4v12h-4zM10 3h4v12h-4z" : "M4 2l12 7-12 7z");
    this.button.setAttribute("aria-label", on ? "Pause" : "Play");
    this.card.dispatchEvent(new Event("playing", { bubbles: true }));
  }

  toggle() {
    this.play(!this.playing);
  }

  /** Advances by so many seconds; the first frame follows the last. */
  advance(seconds) {
    const length = this.count / this.data.fps;
    this.time = (this.time + seconds) % length;
    const frame = Math.min(this.count - 1, Math.floor(this.time * this.data.fps));
    if (frame !== this.shown) this.display(frame);
  }

  /** Goes to a frame. */
  seek(frame) {
    const n = Math.min(this.count - 1, Math.max(0, frame));
    this.time = (n + 0.001) / this.data.fps;
    this.display(n);
  }

  display(n) {
    this.shown = n;
    this.slider.value = n;
    const number = this.data.numbers[n];
    this.slider.setAttribute("aria-valuetext", `frame ${number}`);
    this.counter.textContent = `frame ${number}`;
    this.running.replaceChildren("now: ", ...this.now(n));
    const x = this.count > 1 ? (100 * n) / (this.count - 1) : 50;
    for (const cursor of this.cursors) {
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
    if (this.levels) {
      const shares = this.report.levels.map((name, v) => `${name} ${percent(this.share(n, v), 0)}`);
      this.sharing.textContent = `attention on ${shares.join(", ")}`;
    }
    if (this.visible) this.paint();
  }

  /** The prediction at a frame. */
  now(n) {
    let best = 0;
    this.report.classes.forEach((_, index) => {
      if (this.probability(n, index) > this.probability(n, best)) best = index;
    });
    return [make("b", {}, this.report.classes[best]), ` ${percent(this.probability(n, best), 0)}`];
  }

  /** Shows another view. The canvas has its size at once, so that the layout does not shift when frames are decoded. */
  show(view) {
    this.view = view;
    const { width, height, missing } = this.data;
    this.beside = view === "beside" && !missing;
    this.canvas.width = this.beside ? 2 * width : width;
    this.canvas.height = height;
    this.canvas.style.aspectRatio = `${this.canvas.width} / ${height}`;
    if (this.visible) this.paint();
  }

  paint() {
    if (!this.picture && !this.data.missing) return; // It is being decoded.
    const { width, height } = this.data, { beside } = this;
    const context = this.canvas.getContext("2d");
    context.globalCompositeOperation = "source-over";
    context.fillStyle = "#000000";
    context.fillRect(0, 0, this.canvas.width, height);
    if (beside || this.view === "plain") this.paintFrame(context, 0, 1);
    if (this.view === "plain") return;
    const left = beside ? width : 0;
    this.paintFrame(context, left, DIM);
    context.globalCompositeOperation = "lighter";
    context.drawImage(this.white(), left, 0);
  }

  paintFrame(context, left, alpha) {
    if (!this.picture) return;
    const { width, height } = this.data, { columns } = this.report;
    const column = this.shown % columns, row = Math.floor(this.shown / columns);
    context.globalAlpha = alpha;
    context.drawImage(this.picture, column * width, row * height, width, height, left, 0, width, height);
    context.globalAlpha = 1;
  }

  /** The white overlay of the shown frame, as a canvas. */
  white() {
    const { width, height } = this.data, { spread } = this.report;
    const enlarged = enlarge(this.cells(this.shown), spread[height], spread[width]);
    let least = 0, most = 0;
    for (const value of enlarged) most = Math.max(most, value);
    if (this.view === "stretched") {
      least = most;
      for (const value of enlarged) least = Math.min(least, value);
    }
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    const scale = most > least ? ((1 - DIM) * 255) / (most - least) : 0;
    enlarged.forEach((value, n) => {
      const light = Math.round((value - least) * scale);
      pixels.data.set([light, light, light, 255], 4 * n);
    });
    context.putImageData(pixels, 0, 0);
    return canvas;
  }
}
