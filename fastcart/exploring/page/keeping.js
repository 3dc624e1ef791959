// settings in the address, figures and numbers as files
function keep(settings) {
  const bytes = new TextEncoder().encode(JSON.stringify(settings));
  const code = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  history.replaceState(null, "", location.pathname + location.search + "#" + code);
}

function kept() {
  const code = location.hash.slice(1).replaceAll("-", "+").replaceAll("_", "/");
  if (!code) return null;
  try {
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(code), c => c.charCodeAt(0))));
  } catch {
    return null;
  }
}

function save(name, parts, type) {
  const link = element("a", {href: URL.createObjectURL(new Blob(parts, {type})), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function svgText(plot) {
  plot.look(null);
  const copy = plot.svg.cloneNode(true), box = plot.svg.viewBox.baseVal;
  const style = {xmlns: NS, width: box.width, height: box.height, "font-family": "DejaVu Sans, sans-serif", "font-size": 12};
  for (const [name, value] of Object.entries(style)) copy.setAttribute(name, value);
  copy.prepend(drawn("rect", {width: box.width, height: box.height, fill: "#fff"}), drawn("title", {}, plot.svg.getAttribute("aria-label")));
  return new XMLSerializer().serializeToString(copy);
}

function saveSvg(plot, name) { save(name + ".svg", [svgText(plot)], "image/svg+xml"); }

function savePng(plot, name) {
  const {width, height} = plot.svg.viewBox.baseVal, image = new Image();
  image.onload = () => {
    const canvas = element("canvas", {width: 3 * width, height: 3 * height});
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(blob => save(name + ".png", [blob], "image/png"));
  };
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svgText(plot));
}

function saveCsv(name, header, columns) {
  const rows = Array.from(columns[0], (_, k) => columns.map(column => typeof column[k] === "number" && Number.isNaN(column[k]) ? "" : column[k]).join(","));
  save(name + ".csv", [[header.join(","), ...rows].join("\n") + "\n"], "text/csv");
}
