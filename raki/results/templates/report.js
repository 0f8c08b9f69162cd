// The viewer of a report: any image by any method on one canvas, drawn from the sheets of tiles in this file.
// What it is given is described in raki/results/viewer.py. Nothing is fetched, nothing is kept.
"use strict";
(() => {
  const scan = JSON.parse(document.getElementById("viewer-data").textContent);
  const byId = (id) => document.getElementById(id);
  const [stage, canvas] = [byId("stage"), byId("canvas")];
  const layers = new Map(scan.layers.map((layer) => [layer.key, { ...layer, places: placesOf(layer) }]));
  const methods = [...layers.values()].filter((layer) => !layer.is_overlay);
  const highest = methods[0].high;
  const FLICKER_MS = 700; // below three flashes a second, WCAG 2.3.1
  const TILES_KEPT = 24;
  const ROLL = 40; // pixels of a touch pad that are a slice
  // From cold to hot, for what is laid over.
  const COLOURS = [[20, 11, 90], [126, 32, 140], [212, 62, 86], [250, 150, 50], [252, 246, 170]];

  // What adds to a pixel's brightness, and what takes from it.
  const [ADDED, TAKEN] = [[255, 122, 36], [64, 148, 255]];

  const atFirst = () => ({ zoom: 1, panX: 0, panY: 0, black: scan.window[0], white: scan.window[1] });
  const state = {
    slice: scan.start, frame: 0, method: methods[0].key, other: (methods.at(-1) ?? methods[0]).key,
    mode: "one", wipe: 0.5, isSwapped: false, overlay: "", opacity: 0.7, drag: "window", region: null, ...atFirst(),
  };

  // ---- Tiles ----

  /** Where each image of a layer lies: its sheet's number, and the number of its tile there. */
  function placesOf(layer) {
    return new Map(layer.sheets.flatMap((sheet, number) => sheet.images.map((image, tile) => [image, [number, tile]])));
  }

  /** The picture of a sheet; those of the first layer stand on the page, for paper. */
  function pictureOf(sheet, number) {
    sheet.picture ??= (async () => {
      const picture = new Image();
      picture.src = sheet.jpeg ? `data:image/jpeg;base64,${sheet.jpeg}` : byId(`sheet-${number}`).src;
      await picture.decode();
      return picture;
    })();
    return sheet.picture;
  }

  const tiles = new Map();

  /** The stored values of an image in a layer, 0 to 255, or null where the layer hasn't got it. */
  async function tileOf(layer, image) {
    const place = layer.places.get(image);
    if (!place) return null;
    const name = `${layer.key} ${image}`;
    if (!tiles.has(name)) {
      tiles.set(name, cutOut(layer.sheets[place[0]], ...place));
      if (tiles.size > TILES_KEPT) tiles.delete(tiles.keys().next().value);
    }
    return tiles.get(name);
  }

  async function cutOut(sheet, number, tile) {
    const picture = await pictureOf(sheet, number);
    const [width, height] = sheet.tile;
    const [left, upper] = [(tile % sheet.n_columns) * sheet.cell[0], Math.floor(tile / sheet.n_columns) * sheet.cell[1]];
    const context = canvasOf(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, left, upper, width, height, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    return { width, height, stored: Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]) };
  }

  function canvasOf(width, height) {
    return Object.assign(document.createElement("canvas"), { width, height });
  }

  // ---- From stored values to colours ----

  // Of what may be negative, the stored value that is nothing.
  const ZERO_OF_PART = 128;

  const valueOf = (layer, stored) => layer.is_part
    ? (layer.high * (stored - ZERO_OF_PART)) / (255 - ZERO_OF_PART)
    : layer.low + ((layer.high - layer.low) * stored) / 255;

  /** A tile as a picture, each stored value in the colour that `colours` has for it: red, green, blue, opacity. */
  function painted(tile, colours) {
    const picture = canvasOf(tile.width, tile.height);
    const context = picture.getContext("2d");
    const pixels = context.createImageData(tile.width, tile.height);
    tile.stored.forEach((stored, i) => pixels.data.set(colours[stored], 4 * i));
    context.putImageData(pixels, 0, 0);
    return picture;
  }

  function greys(layer) {
    const span = Math.max(state.white - state.black, highest / 1e4);
    return Array.from({ length: 256 }, (_, stored) => {
      const grey = Math.round(255 * Math.min(Math.max((valueOf(layer, stored) - state.black) / span, 0), 1));
      return [grey, grey, grey, 255];
    });
  }

  /** A difference is as opaque as it is large: where there is none, the image shows. */
  function heat(layer) {
    if (layer.is_part) return Array.from({ length: 256 }, (_, stored) => {
      const part = valueOf(layer, stored) / layer.high;
      return [...(part > 0 ? ADDED : TAKEN), Math.round(255 * state.opacity * Math.sqrt(Math.abs(part)))];
    });
    return Array.from({ length: 256 }, (_, stored) => {
      const opacity = layer.key === "difference" ? state.opacity * Math.sqrt(stored / 255) : state.opacity;
      return [...colourAt(stored / 255), Math.round(255 * opacity)];
    });
  }

  function colourAt(part) {
    const at = part * (COLOURS.length - 1);
    const below = Math.min(Math.floor(at), COLOURS.length - 2);
    return COLOURS[below].map((channel, i) => Math.round(channel + (COLOURS[below + 1][i] - channel) * (at - below)));
  }

  // ---- Drawing ----

  const imageNow = () => state.frame * scan.slices.length + state.slice;
  const viewNow = () => scan.views[scan.view_of[imageNow()]];
  const methodNow = () => layers.get(state.isSwapped ? state.other : state.method);
  const otherNow = () => layers.get(state.isSwapped ? state.method : state.other);
  let shown = null; // what was drawn last, for reading values
  const NOWHERE = { x: -1, y: -1 };
  let pointer = NOWHERE;
  let isAsked = false;
  let turn = 0;

  /** Draws at the next frame, once, however often it is asked. */
  function draw() {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => { isAsked = false; drawNow(); });
  }

  async function drawNow() {
    const mine = ++turn;
    const wanted = [methodNow(), otherNow(), layers.get(state.overlay)];
    const [first, second, over] = await Promise.all(wanted.map((layer) => (layer ? tileOf(layer, imageNow()) : null)));
    if (mine !== turn) return;
    const context = fittedContext();
    shown = { first, second, over };
    const [one, two] = [panel(wanted[0], first), panel(wanted[1], second)];
    const laid = over && painted(over, heat(wanted[2]));
    const boxes = boxesOf(one, two);
    for (const [box, clip, content] of boxes) drawPanel(context, box, clip, content, laid);
    if (state.mode === "wipe") drawDivider(context);
    for (const box of new Set(boxes.map(([whole]) => whole))) drawMarks(context, box);
    if (state.region) for (const [box, clip] of boxes) drawRegion(context, box, clip);
    describe(wanted, [first, second, over]);
  }

  const panel = (layer, tile) => ({ label: layer.label, picture: tile && painted(tile, greys(layer)) });

  /** The canvas's context in CSS pixels, cleared, as sharp as the screen. */
  function fittedContext() {
    const { width, height } = canvas.getBoundingClientRect();
    const density = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.max(Math.round(width * density), 1), Math.max(Math.round(height * density), 1)];
    const context = canvas.getContext("2d");
    context.scale(density, density);
    return context;
  }

  /** What is drawn where: the box that an image is fitted into, the part of it that is seen, and the image. */
  function boxesOf(one, two) {
    const { width, height } = canvas.getBoundingClientRect();
    const whole = [0, 0, width, height];
    if (state.mode === "beside") {
      const half = width / 2;
      return [[[0, 0, half, height], [0, 0, half - 1, height], one], [[half, 0, half, height], [half + 1, 0, half - 1, height], two]];
    }
    if (state.mode !== "wipe") return [[whole, whole, one]];
    const at = state.wipe * width;
    return [[whole, [0, 0, at, height], one], [whole, [at, 0, width - at, height], two]];
  }

  /** CSS pixels of a millimetre, and where in the box the image lies. */
  function placed([left, upper, width, height]) {
    const { width_mm: across, height_mm: down } = viewNow();
    const scale = Math.min(width / across, height / down) * state.zoom;
    const x = left + (width - across * scale) / 2 + state.panX;
    const y = upper + (height - down * scale) / 2 + state.panY;
    return { scale, x, y, width: across * scale, height: down * scale };
  }

  function drawPanel(context, box, clip, { label, picture }, laid) {
    context.save();
    context.beginPath();
    context.rect(...clip);
    context.clip();
    const at = placed(box);
    context.imageSmoothingEnabled = !picture || at.width / picture.width < 6; // beyond that one wants to see pixels
    context.imageSmoothingQuality = "high";
    for (const layer of [picture, laid]) if (layer) context.drawImage(layer, at.x, at.y, at.width, at.height);
    context.font = "600 14px system-ui, sans-serif";
    const isRight = clip[0] > 0; // away from the letter in the middle
    outlined(context, label, isRight ? clip[0] + clip[2] - 8 : 8, clip[1] + 8, isRight ? "right" : "left", "top");
    context.restore();
  }

  function drawMarks(context, box) {
    drawLetters(context, box);
    drawScale(context, box, placed(box).scale);
  }

  function drawLetters(context, [left, upper, width, height]) {
    const { edges } = viewNow();
    context.font = "600 15px ui-monospace, Menlo, monospace";
    const [middle, centre] = [left + width / 2, upper + height / 2];
    if (!edges.left) return; // nobody knows how the image lies
    outlined(context, edges.left, left + 6, centre, "left", "middle");
    outlined(context, edges.right, left + width - 6, centre, "right", "middle");
    outlined(context, edges.top, middle, upper + 6, "center", "top");
    outlined(context, edges.bottom, middle, upper + height - 6, "center", "bottom");
  }

  /** A bar of a round length, a fifth of the width or a little more. */
  function drawScale(context, [left, upper, width, height], scale) {
    const wanted = Math.min(width / 5, 160) / scale;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const length = [1, 2, 5, 10].map((part) => part * power).find((mm) => mm >= wanted) ?? 10 * power;
    const [begin, end, y] = [left + 10, left + 10 + length * scale, upper + height - 12];
    for (const [colour, thickness] of [["#000", 5], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thickness;
      context.beginPath();
      for (const [x, top] of [[begin, y - 5], [end, y - 5]]) { context.moveTo(x, top); context.lineTo(x, y); }
      context.moveTo(begin, y);
      context.lineTo(end, y);
      context.stroke();
    }
    context.font = "600 12px system-ui, sans-serif";
    outlined(context, `${+length.toPrecision(2)} mm`, begin + 4, y - 6, "left", "bottom");
  }

  function drawRegion(context, box, clip) {
    const at = placed(box);
    const [left, upper, right, lower] = state.region;
    context.save();
    context.beginPath();
    context.rect(...clip);
    context.clip();
    for (const [colour, thickness] of [["#000", 4], ["#ffd84a", 2]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: thickness });
      context.strokeRect(at.x + left * at.width, at.y + upper * at.height, (right - left) * at.width, (lower - upper) * at.height);
    }
    context.restore();
  }

  function drawDivider(context) {
    const { width, height } = canvas.getBoundingClientRect();
    context.fillStyle = "#fff";
    context.fillRect(state.wipe * width - 1, 0, 2, height);
  }

  function outlined(context, text, x, y, align, baseline) {
    Object.assign(context, { textAlign: align, textBaseline: baseline, lineWidth: 3, lineJoin: "round" });
    context.strokeStyle = "#000";
    context.strokeText(text, x, y);
    context.fillStyle = "#fff";
    context.fillText(text, x, y);
  }

  // ---- What it says ----

  const short = (value) => String(+value.toPrecision(3));

  function nameNow() {
    const frame = scan.frames[state.frame];
    const slice = `slice ${scan.slices[state.slice]}`;
    return frame ? `${frame}, ${slice}` : slice;
  }

  function describe(wanted, found) {
    const labels = { one: wanted[0].label, flicker: wanted[0].label, wipe: `${wanted[0].label} left of ${wanted[1].label}`,
      beside: `${wanted[0].label} beside ${wanted[1].label}` };
    const { plane, edges } = viewNow();
    const lies = plane ? [plane, ...Object.entries(edges).map(([edge, letter]) => `${edge} ${letter}`)] : [];
    const over = wanted[2] ? `, ${wanted[2].label} laid over` : "";
    stage.setAttribute("aria-label", [nameNow(), labels[state.mode] + over, ...lies].join(", "));
    const compared = ["wipe", "beside"].includes(state.mode);
    const missing = wanted.filter((layer, i) => layer && !found[i] && (i !== 1 || compared));
    const said = missing.map((layer) => `${layer.label} is not in this file for this image; the nearest is ${nearest(layer)}.`);
    if (byId("absent").textContent !== said.join(" ")) byId("absent").textContent = said.join(" ");
    say();
  }

  function nearest(layer) {
    const n = scan.slices.length;
    const far = (image) => Math.abs(Math.floor(image / n) - state.frame) * n + Math.abs((image % n) - state.slice);
    const image = [...layer.places.keys()].reduce((best, one) => (far(one) < far(best) ? one : best));
    const frame = scan.frames[Math.floor(image / n)];
    return `${frame ? `${frame}, ` : ""}slice ${scan.slices[image % n]}`;
  }

  /** The controls as the state is. */
  function say() {
    const at = { slice: state.slice, frame: state.frame, wipe: 100 * state.wipe, opacity: 100 * state.opacity,
      black: (1000 * state.black) / highest, white: (1000 * state.white) / highest };
    const text = { slice: `${scan.slices[state.slice]} of ${scan.slices.at(-1)}`, frame: scan.frames[state.frame],
      wipe: `${Math.round(at.wipe)} %`, opacity: `${Math.round(at.opacity)} %`, black: short(state.black), white: short(state.white) };
    for (const id of Object.keys(at)) if (byId(id)) {
      byId(id).value = at[id];
      byId(id).setAttribute("aria-valuetext", text[id]);
      byId(`${id}-said`).textContent = text[id];
    }
    for (const id of ["method", "mode", "other", "overlay", "drag"]) if (byId(id)) byId(id).value = state[id];
    byId("swap")?.setAttribute("aria-pressed", String(state.isSwapped));
    sayOverlay(layers.get(state.overlay));
    sayUse();
    sayValue();
    sayRegion();
  }

  /** Controls without a use are out of the way. */
  function sayUse() {
    const isCompared = state.mode !== "one";
    for (const [id, isUsed] of [["other", isCompared], ["swap", isCompared], ["wipe", state.mode === "wipe"]]) {
      if (byId(id)) (byId(id).closest(".control, .buttons")).hidden = !isUsed;
    }
  }

  function sayOverlay(layer) {
    if (!byId("of-overlay")) return;
    byId("of-overlay").hidden = !layer;
    if (!layer) return;
    byId("overlay-low").textContent = short(layer.is_part ? -layer.high : layer.low);
    byId("overlay-high").textContent = short(layer.high);
    const about = [[...TAKEN, 1], [...TAKEN, 0], [...ADDED, 0], [...ADDED, 1]];
    const stops = (layer.is_part ? about : COLOURS).map(([r, g, b, opacity]) => `rgb(${r} ${g} ${b} / ${opacity ?? 1})`);
    byId("overlay-bar").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  }

  /** The values under the pointer. */
  function sayValue() {
    const box = boxesOf(null, null).find(([, clip]) => pointer.x >= clip[0] && pointer.x < clip[0] + clip[2]);
    if (!box || !shown) {
      byId("value").textContent = "";
      return;
    }
    const at = placed(box[0]);
    const part = [(pointer.x - at.x) / at.width, (pointer.y - at.y) / at.height];
    const isOther = ["wipe", "beside"].includes(state.mode) && box[1][0] > 0;
    const read = [isOther ? [otherNow(), shown.second] : [methodNow(), shown.first], [layers.get(state.overlay), shown.over]];
    const isInside = part.every((along) => along >= 0 && along < 1);
    const texts = read.filter(([layer, tile]) => layer && tile && isInside).map(([layer, tile]) => {
      const [column, row] = [Math.floor(part[0] * tile.width), Math.floor(part[1] * tile.height)];
      return `${layer.label} about ${short(valueOf(layer, tile.stored[row * tile.width + column]))}`;
    });
    byId("value").textContent = texts.join(", ");
  }

  // ---- A region ----

  /** Mean and standard deviation of a layer's values in the region; as coarsely as another tile has them. */
  async function withinRegion(layer, coarse = null) {
    const tile = await tileOf(layer, imageNow());
    if (!tile || !state.region) return null;
    const [left, upper, right, lower] = state.region;
    const columns = coveredAs(left, right, tile.width, coarse?.width ?? tile.width);
    const rows = coveredAs(upper, lower, tile.height, coarse?.height ?? tile.height);
    let [sum, squares, all, isCut] = [0, 0, 0, false];
    for (const [row, down] of rows) for (const [column, across] of columns) {
      const stored = tile.stored[row * tile.width + column];
      const [value, part] = [valueOf(layer, stored), down * across];
      sum += part * value;
      squares += part * value * value;
      all += part;
      isCut ||= stored === 255;
    }
    return { layer, isCut, mean: sum / all, deviation: Math.sqrt(Math.max(squares / all - (sum / all) ** 2, 0)) };
  }

  /** The pixels between two parts of a length, with how much of each: tiles of maps are coarser than those of images. */
  function coveredOf(from, to, length) {
    const [begin, end] = [from * length, to * length];
    const first = within(Math.floor(begin), 0, length - 1);
    return Array.from({ length: within(Math.ceil(end), first + 1, length) - first }, (_, i) => first + i)
      .map((pixel) => [pixel, Math.min(pixel + 1, end) - Math.max(pixel, begin)]);
  }

  /** The same, as a tile of other length sees it: each of its pixels with all that lies in it. */
  function coveredAs(from, to, length, other) {
    if (other === length) return coveredOf(from, to, length);
    return coveredOf(from, to, other).flatMap(([pixel, part]) =>
      coveredOf(pixel / other, (pixel + 1) / other, length).map(([inside, of]) => [inside, part * of]));
  }

  let asked = "";

  /** What is known of the region: of each image, of the maps, and where its brightness comes from. */
  async function sayRegion() {
    byId("region").hidden = !state.region;
    const question = JSON.stringify([state.region, imageNow()]);
    if (!state.region || question === asked) return;
    asked = question;
    const found = (await Promise.all([...layers.values()].map((layer) => withinRegion(layer)))).filter(Boolean);
    const part = found.find(({ layer }) => layer.is_part);
    // Parts are coarser than images: of a small region the whole has to be as coarse, to be their sum.
    const whole = part ? await withinRegion(methods[0], await tileOf(part.layer, imageNow())) : null;
    if (question !== asked) return;
    const [left, upper, right, lower] = state.region;
    const { width_mm: across, height_mm: down } = viewNow();
    const size = [(right - left) * across, (lower - upper) * down].map((mm) => +mm.toPrecision(3)).join(" × ");
    byId("region-size").textContent = `${size} mm, ${nameNow()}. Means in the unit of the images or of the map, about: pictures here are coarser than the image files, and end at a brightness (\u2265).`;
    const values = found.filter(({ layer }) => !layer.is_part).map(({ layer, isCut, mean, deviation }) =>
      [layer.label, `${isCut ? "\u2265 " : ""}${short(mean)}`, layer.is_overlay ? "" : `± ${short(deviation)}`]);
    fill(byId("region-values"), values);
    sayParts(found, whole);
  }

  /** Each part of the region's brightness, and what none of them tells. */
  function sayParts(found, whole) {
    const parts = found.filter(({ layer }) => layer.is_part);
    const isTold = parts.length > 0 && whole?.mean > 0;
    byId("region-explained").hidden = !isTold;
    if (!isTold) return;
    const percents = parts.map(({ layer, mean }) => [layer.label, (100 * mean) / whole.mean]);
    const rest = 100 - percents.reduce((sum, [, percent]) => sum + percent, 0);
    if (Math.abs(rest) >= 2) percents.push(["Not told by these", rest]);
    const told = (percent) => {
      const digits = Math.abs(percent).toFixed(Math.abs(percent) < 9.95 ? 1 : 0);
      return `${percent < 0 && +digits > 0 ? "\u2212" : ""}${digits} %`;
    };
    fill(byId("region-parts"), percents.map(([label, percent]) => [label, told(percent), percent]));
  }

  /** Rows of a table: a name, a value, and a note or, of a number, a bar. */
  function fill(table, rows) {
    const cells = rows.map(([name, value, more]) => {
      const row = document.createElement("tr");
      const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
      const number = Object.assign(document.createElement("td"), { className: "number", textContent: value });
      const last = Object.assign(document.createElement("td"), { className: typeof more === "number" ? "bar" : "" });
      if (typeof more === "number") last.append(barOf(more));
      else last.textContent = more;
      row.append(head, number, last);
      return row;
    });
    table.replaceChildren(...cells);
  }

  function barOf(percent) {
    const bar = document.createElement("span");
    bar.style.width = `${Math.min(Math.abs(percent), 100)}%`;
    bar.style.background = `rgb(${(percent < 0 ? TAKEN : ADDED).join(" ")})`;
    return bar;
  }

  /** A quarter of what is seen, in its middle. */
  function regionInTheMiddle() {
    const box = boxesOf(null, null)[0][0];
    const at = placed(box);
    const [x, y] = [box[0] + box[2] / 2 - at.x, box[1] + box[3] / 2 - at.y].map((middle, axis) => middle / [at.width, at.height][axis]);
    const half = Math.min(0.125 / state.zoom, 0.5);
    setRegion([x - half, y - half, x + half, y + half]);
  }

  /** One as large as it is, in the image; none where it is smaller than a point. */
  function setRegion(corners) {
    const sorted = [0, 1].map((axis) => [corners[axis], corners[axis + 2]].map((part) => within(part, 0, 1)).sort((a, b) => a - b));
    const [[left, right], [upper, lower]] = sorted;
    change({ region: right - left > 0.003 && lower - upper > 0.003 ? [left, upper, right, lower] : null });
  }

  // ---- Changing what is seen ----

  const within = (value, low, high) => Math.min(Math.max(value, low), high);

  function change(changes) {
    Object.assign(state, changes);
    state.slice = within(state.slice, 0, scan.slices.length - 1);
    state.frame = within(state.frame, 0, scan.frames.length - 1);
    state.zoom = within(state.zoom, 0.5, 40);
    draw();
  }

  function setWindow(black, white) {
    const gap = highest / 1000;
    change({ black: within(black, 0, highest - gap), white: within(white, gap, highest) });
    if (state.white - state.black < gap) change({ white: Math.min(state.black + gap, highest) });
  }

  /** Brightness by so many parts of the range; contrast by a factor on the window's width. */
  function changeWindow(darker, factor) {
    const [centre, half] = [(state.black + state.white) / 2 + darker * highest, ((state.white - state.black) / 2) * factor];
    setWindow(centre - half, centre + half);
  }

  function turnSlices(steps) {
    if (scan.slices.length > 1) change({ slice: state.slice + steps });
    else change({ frame: state.frame + steps });
  }

  /** What is under a point of the stage, in its own pixels, stays there. */
  function zoomBy(factor, x, y) {
    const { width, height } = canvas.getBoundingClientRect();
    const zoom = within(state.zoom * factor, 0.5, 40);
    const middle = state.mode === "beside" ? (x < width / 2 ? width / 4 : (3 * width) / 4) : width / 2;
    const [dx, dy] = [(x ?? middle) - middle, (y ?? height / 2) - height / 2];
    const ratio = zoom / state.zoom;
    change({ zoom, panX: dx - (dx - state.panX) * ratio, panY: dy - (dy - state.panY) * ratio });
  }

  let flicker = null;

  /** Swaps by itself while methods flicker; not where someone asked their system for less motion. */
  function setMode(mode) {
    clearInterval(flicker);
    flicker = null;
    change({ mode, isSwapped: false });
    if (mode === "flicker" && !matchMedia("(prefers-reduced-motion: reduce)").matches) startFlicker();
  }

  function startFlicker() {
    flicker = setInterval(() => change({ isSwapped: !state.isSwapped }), FLICKER_MS);
  }

  function pauseOrGoOn() {
    if (state.mode !== "flicker") return setMode(methods.length > 1 ? "flicker" : "one");
    if (flicker === null) return startFlicker();
    clearInterval(flicker);
    flicker = null;
  }

  // ---- Keys, wheel and pointer ----

  const KEYS = {
    ArrowUp: () => turnSlices(-1), ArrowDown: () => turnSlices(1),
    PageUp: () => turnSlices(-10), PageDown: () => turnSlices(10),
    Home: () => turnSlices(-Infinity), End: () => turnSlices(Infinity),
    ArrowLeft: () => change({ frame: state.frame - 1 }), ArrowRight: () => change({ frame: state.frame + 1 }),
    "+": () => zoomBy(1.25), "=": () => zoomBy(1.25), "-": () => zoomBy(0.8), 0: () => change(atFirst()),
    "[": () => changeWindow(0, 1.1), "]": () => changeWindow(0, 1 / 1.1),
    ",": () => changeWindow(0.02, 1), ".": () => changeWindow(-0.02, 1),
    x: () => change({ isSwapped: !state.isSwapped }), X: () => change({ isSwapped: !state.isSwapped }),
    " ": pauseOrGoOn, r: regionInTheMiddle, R: regionInTheMiddle, Escape: () => change({ region: null }),
  };
  const MOVES = { ArrowUp: [0, -24], ArrowDown: [0, 24], ArrowLeft: [-24, 0], ArrowRight: [24, 0] };

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = event.shiftKey && MOVES[event.key];
    if (move) change({ panX: state.panX + move[0], panY: state.panY + move[1] });
    else if (KEYS[event.key]) KEYS[event.key]();
    else return;
    event.preventDefault();
  }

  let rolled = 0;

  /** A notch of a wheel, 50 pixels and more, is a slice; the small steps of a touch pad add up to one. */
  function onWheel(event) {
    const isZoom = event.ctrlKey || event.metaKey;
    if (!isZoom && scan.slices.length * scan.frames.length === 1) return;
    event.preventDefault();
    if (isZoom) return zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.offsetX, event.offsetY);
    const isNotch = event.deltaMode !== WheelEvent.DOM_DELTA_PIXEL || Math.abs(event.deltaY) >= 50;
    roll(isNotch ? Math.sign(event.deltaY) * ROLL : event.deltaY, ROLL);
  }

  /** Turns a slice for each so many pixels. */
  function roll(pixels, aSlice) {
    rolled += pixels;
    const steps = Math.trunc(rolled / aSlice);
    rolled -= steps * aSlice;
    if (steps) turnSlices(steps);
  }

  const DRAGS = {
    window: (dx, dy) => changeWindow(dy / 600, Math.exp(dx / 250)),
    pan: (dx, dy) => change({ panX: state.panX + dx, panY: state.panY + dy }),
    slices: (_, dy) => roll(dy, 8),
    wipe: (dx) => change({ wipe: within(state.wipe + dx / canvas.getBoundingClientRect().width, 0, 1) }),
  };

  function dragOf(event) {
    const line = state.wipe * canvas.getBoundingClientRect().width;
    if (state.mode === "wipe" && Math.abs(event.offsetX - line) < 14) return DRAGS.wipe;
    return event.shiftKey || event.button > 0 ? DRAGS.pan : DRAGS[state.drag];
  }

  /** Drawn from where the pointer goes down to where it is. */
  function regionFrom(event) {
    const box = boxesOf(null, null).find(([, clip]) => event.offsetX >= clip[0] && event.offsetX < clip[0] + clip[2]) ?? boxesOf(null, null)[0];
    const at = placed(box[0]);
    const partOf = ({ offsetX, offsetY }) => [(offsetX - at.x) / at.width, (offsetY - at.y) / at.height];
    const begin = partOf(event);
    return (dx, dy, moved) => setRegion([...begin, ...partOf(moved)]);
  }

  function onPointerDown(event) {
    stage.focus({ preventScroll: true });
    const drag = state.drag === "region" && !event.shiftKey && event.button === 0 ? regionFrom(event) : dragOf(event);
    let [x, y] = [event.clientX, event.clientY];
    const onMove = (moved) => {
      if (moved.pointerId !== event.pointerId) return;
      drag(moved.clientX - x, moved.clientY - y, moved);
      [x, y] = [moved.clientX, moved.clientY];
    };
    const onEnd = () => {
      canvas.removeEventListener("pointermove", onMove);
      for (const end of ["pointerup", "pointercancel"]) canvas.removeEventListener(end, onEnd);
    };
    canvas.setPointerCapture(event.pointerId);
    canvas.addEventListener("pointermove", onMove);
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, onEnd);
  }

  function listenToControls() {
    const listen = (id, event, act) => byId(id)?.addEventListener(event, () => act(byId(id)));
    for (const id of ["slice", "frame"]) listen(id, "input", (range) => change({ [id]: +range.value }));
    for (const id of ["wipe", "opacity"]) listen(id, "input", (range) => change({ [id]: range.value / 100 }));
    listen("black", "input", (range) => setWindow((range.value / 1000) * highest, state.white));
    listen("white", "input", (range) => setWindow(state.black, (range.value / 1000) * highest));
    for (const id of ["method", "other"]) listen(id, "change", (select) => change({ [id]: select.value, isSwapped: false }));
    for (const id of ["overlay", "drag"]) listen(id, "change", (select) => change({ [id]: select.value }));
    listen("mode", "change", (select) => setMode(select.value));
    listen("swap", "click", () => change({ isSwapped: !state.isSwapped }));
    listen("closer", "click", () => zoomBy(1.25));
    listen("farther", "click", () => zoomBy(0.8));
    listen("reset", "click", () => change(atFirst()));
    listen("region-here", "click", regionInTheMiddle);
    listen("region-away", "click", () => change({ region: null }));
  }

  function listenToStage() {
    stage.addEventListener("keydown", onKey);
    canvas.addEventListener("wheel", onWheel, { passive: false });
    canvas.addEventListener("pointerdown", onPointerDown);
    canvas.addEventListener("pointermove", (event) => { pointer = { x: event.offsetX, y: event.offsetY }; sayValue(); });
    canvas.addEventListener("pointerleave", () => { pointer = NOWHERE; sayValue(); });
    canvas.addEventListener("dblclick", () => change(atFirst()));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    new ResizeObserver(draw).observe(canvas);
  }

  document.body.classList.add("js");
  listenToControls();
  listenToStage();
  draw();
})();
