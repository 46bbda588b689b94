// Curves over the epochs. They share one cursor: pointing at an epoch in one shows its values in all.

const HEIGHT = 196, LEFT = 54, RIGHT = 12, TOP = 22, BOTTOM = 34;

class Chart {
  /**
   * title: above the curves. epochs: their numbers. series: [{name, values}], null where there is none.
   * references: [{name, value}], drawn level. mark: {epoch, name}, drawn upright. format: of numbers; tick: of the axis.
   * max: where the axis ends.
   */
  constructor({ title, epochs, series, references = [], mark = null, format = short, tick = null, max = null, note = null }, select) {
    Object.assign(this, { title, epochs, series, references, mark, format, tick, max, select });
    this.legend = make("ul", { class: "legend" });
    this.plot = draw("svg", {
      class: "plot", height: HEIGHT, tabindex: "0", role: "slider", "aria-label": `${title}, by epoch`,
      "aria-valuemin": epochs[0], "aria-valuemax": epochs[epochs.length - 1],
      pointermove: (event) => this.point(event), pointerdown: (event) => this.point(event),
      keydown: (event) => this.move(event),
    });
    this.element = make(
      "figure", { class: "panel" }, make("figcaption", {}, title), this.plot, this.legend,
      note && make("p", { class: "muted small" }, note),
    );
    this.width = 0;
    this.chosen = 0;
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  resize() {
    const width = Math.round(this.plot.getBoundingClientRect().width);
    if (width > 0 && width !== this.width) {
      this.width = width;
      this.render();
    }
  }

  x(epoch) {
    const [first, last] = [this.epochs[0], this.epochs[this.epochs.length - 1]];
    const share = last > first ? (epoch - first) / (last - first) : 0.5;
    return LEFT + 8 + share * (this.width - LEFT - RIGHT - 16);
  }

  y(value) {
    return HEIGHT - BOTTOM - (value / this.top) * (HEIGHT - TOP - BOTTOM);
  }

  render() {
    const all = this.series.flatMap((s) => s.values).concat(this.references.map((r) => r.value));
    const highest = this.max ?? Math.max(...all.filter((value) => value !== null && value !== undefined), 0);
    const step = niceStep(highest || 1, 4);
    this.top = this.max ?? Math.max(step * Math.ceil(highest / step - 1e-9), step);
    const right = this.width - RIGHT;
    const parts = [];
    for (let n = 0; n * step <= this.top * 1.001; n++) {
      const y = this.y(n * step);
      parts.push(draw("line", { class: n ? "grid" : "axis", x1: LEFT, x2: right, y1: y, y2: y }));
      const text = this.tick?.(n * step) ?? (n * step).toFixed(!n ? 0 : Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
      parts.push(draw("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, text));
    }
    const [first, last] = [this.epochs[0], this.epochs[this.epochs.length - 1]];
    const stride = Math.max(1, Math.ceil(niceStep(last - first, Math.max(2, this.width / 60))));
    for (let epoch = Math.ceil(first / stride) * stride; epoch <= last; epoch += stride) {
      parts.push(draw("text", { x: this.x(epoch), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, String(epoch)));
    }
    parts.push(draw("text", { x: right, y: HEIGHT - 3, "text-anchor": "end" }, "epoch"));
    for (const { value } of this.references) {
      parts.push(draw("line", { class: "reference", x1: LEFT, x2: right, y1: this.y(value), y2: this.y(value) }));
    }
    if (this.mark && this.epochs.includes(this.mark.epoch)) {
      const x = this.x(this.mark.epoch);
      const anchor = x > this.width / 2 ? "end" : "start";
      parts.push(draw("line", { class: "mark", x1: x, x2: x, y1: TOP - 4, y2: HEIGHT - BOTTOM }));
      parts.push(draw("text", { x: x + (anchor === "end" ? -5 : 5), y: TOP - 5, "text-anchor": anchor }, this.mark.name));
    }
    this.series.forEach(({ values }, n) => {
      const points = values.flatMap((value, i) => (value === null ? [] : [[this.x(this.epochs[i]), this.y(value)]]));
      const path = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
      parts.push(draw("path", { class: `line series-${n % 4}`, d: path }));
      if (points.length <= 40) {
        parts.push(...points.map(([x, y]) => draw("circle", { class: `series-${n % 4}`, cx: x, cy: y, r: 2.5 })));
      }
    });
    this.cursor = draw("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });
    this.plot.replaceChildren(...parts, this.cursor);
    this.show(this.chosen);
  }

  /** Shows the values of all curves at the epoch of that index. */
  show(index) {
    this.chosen = index;
    const said = this.series.map(({ name, values }) => `${name} ${this.format(values[index])}`);
    this.legend.replaceChildren(
      make("li", { class: "muted" }, `epoch ${this.epochs[index]}`),
      ...this.series.map((_, n) => make("li", {}, sample(`line series-${n % 4}`), said[n])),
      ...this.references.map(({ name }) => make("li", { class: "muted" }, sample("reference"), name)),
    );
    this.plot.setAttribute("aria-valuenow", this.epochs[index]);
    this.plot.setAttribute("aria-valuetext", [`epoch ${this.epochs[index]}`, ...said].join(", "));
    if (!this.cursor) return;
    this.cursor.setAttribute("x1", this.x(this.epochs[index]));
    this.cursor.setAttribute("x2", this.x(this.epochs[index]));
  }

  point(event) {
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    const away = this.epochs.map((epoch) => Math.abs(this.x(epoch) - x));
    this.select(away.indexOf(Math.min(...away)));
  }

  move(event) {
    const last = this.epochs.length - 1;
    const index = {
      ArrowLeft: this.chosen - 1, ArrowDown: this.chosen - 1, ArrowRight: this.chosen + 1, ArrowUp: this.chosen + 1,
      Home: 0, End: last,
    }[event.key];
    if (index === undefined) return;
    event.preventDefault();
    this.select(Math.min(last, Math.max(0, index)));
  }
}

/** A step of 1, 2 or 5 times a power of ten that divides the range into about `count` parts. */
function niceStep(range, count) {
  const rough = range / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

/** A piece of a curve, for the legend. */
function sample(style) {
  return draw(
    "svg", { class: "sample", width: 24, height: 8, "aria-hidden": "true" },
    draw("line", { class: style, x1: 0, x2: 24, y1: 4, y2: 4 }),
  );
}

/** The epochs' lines as curves: those of learning, and those of the attention's health. */
function curves(report) {
  const lines = report.epochs;
  const epochs = lines.map((line) => line.epoch);
  const watched = lines.some((line) => line.held_out) ? "held_out" : "training_part";
  const where = watched === "held_out" ? "held out" : "part of training";
  const mark = { epoch: report.epoch, name: `${report.checkpoint}: epoch ${report.epoch}` };
  const pick = (...path) => lines.map((line) => path.reduce((value, name) => value?.[name] ?? null, line));
  const seen = (...path) => pick(watched, ...path);
  const score = lines[0][watched]?.score_name;
  const learning = [
    {
      title: "Training loss and its parts",
      series: [
        { name: "loss", values: pick("loss") },
        { name: "cross-entropy", values: pick("cross_entropy") },
        ...(report.penalty_weight ? [{ name: "attention penalty", values: pick("attention_penalty") }] : []),
        { name: "weight decay", values: pick("weight_decay") },
      ],
      note: "Nats a block, summed over its steps.",
    },
    {
      title: "Cross-entropy",
      series: [{ name: "training", values: pick("cross_entropy") }, { name: where, values: seen("cross_entropy") }],
      note: "Nats a block, summed over its steps; with dropout in training, without it elsewhere.",
    },
  ];
  if (score) {
    learning.push({
      title: score === "accuracy" ? "Accuracy" : "Mean average precision",
      series: [{ name: where, values: seen(score) }],
      format: percent,
      tick: (share) => `${Math.round(100 * share)} %`,
      max: 1,
      note: watched === "held_out"
        ? "Of the clips held out of training; the best epoch is chosen by it."
        : "Of clips that were trained on: nothing was held out. The best epoch is that of the least training loss.",
    });
  }
  const health = [];
  if (report.has_attention && lines.some((line) => line[watched]?.attention)) {
    const most = Math.log(report.num_cells);
    health.push(
      {
        title: "Entropy of the attention",
        series: [{ name: where, values: seen("attention", "entropy") }],
        references: [{ name: `ln ${report.num_cells} = ${most.toFixed(2)}: looks everywhere`, value: most }],
        note: "Nats, mean over the steps; 0 is one cell.",
      },
      {
        title: "Movement",
        series: [{ name: where, values: seen("attention", "movement") }],
        note: "The share of the attention that changes its place from one step to the next; 0 is frozen, 1 a jump.",
      },
      {
        title: "Largest mass",
        series: [{ name: where, values: seen("attention", "largest_mass") }],
        references: [{ name: `1/${report.num_cells}: uniform`, value: 1 / report.num_cells }],
        note: "The share of the most attended cell, mean over the steps; 1 is one cell.",
      },
    );
  }
  for (const chart of [...learning, ...health]) Object.assign(chart, { epochs, mark });
  return { learning, health };
}

/** All numbers of the curves as a table. */
function epochTable(report, charts) {
  const columns = charts.flatMap(({ title, series, format }) =>
    series.map(({ name, values }) => ({ name: series.length > 1 ? `${title}: ${name}` : title, values, format })));
  return make(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers of every epoch" },
    make(
      "table", {},
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "epoch"),
        ...columns.map(({ name }) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...report.epochs.map((line, n) => make(
        "tr", {}, make("th", { scope: "row" }, String(line.epoch)),
        ...columns.map(({ values, format = short }) => make("td", {}, format(values[n]))),
      ))),
    ),
  );
}
