"use strict";
// Asks /stats once a second and shows what changed. Counters only grow, so every rate is a difference of two answers.
(() => {
  const KEPT = 300;
  const SVG = "http://www.w3.org/2000/svg";
  const history = [];
  const byId = (id) => document.getElementById(id);
  const status = byId("status");
  let token = null;
  try { token = sessionStorage.getItem("fleetgate-token"); } catch { token = null; }

  const make = (name, attributes = {}, text) => {
    const element = name === "svg" || name === "polyline" || name === "line"
      ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const show = (id, children) => byId(id).replaceChildren(...children);

  // What one answer says: the sum of a family's samples that fit.
  const fits = (sample, labels) => Object.entries(labels).every(([label, wanted]) =>
    typeof wanted === "function" ? wanted(sample[label]) : sample[label] === wanted);
  const family = (stats, name) => stats.metrics[name] || [];
  const sum = (stats, name, labels = {}) => family(stats, name).reduce(
    (total, sample) => fits(sample, labels) ? total + sample.value : total, 0);
  const last = () => history[history.length - 1];
  const before = (seconds) => {
    const now = last().at;
    for (let at = history.length - 2; at >= 0; at--) {
      if (now - history[at].at >= seconds * 1000 - 100) return history[at];
    }
    return history[0];
  };
  const grown = (name, labels, seconds) => Math.max(0,
    sum(last().stats, name, labels) - sum(before(seconds).stats, name, labels));
  // The rate at each moment of the history.
  const rates = (name, labels = {}) => history.slice(1).map((entry, index) => {
    const earlier = history[index];
    const grew = sum(entry.stats, name, labels) - sum(earlier.stats, name, labels);
    return Math.max(0, grew) / Math.max(0.2, (entry.at - earlier.at) / 1000);
  });
  const levels = (name, labels = {}) => history.map((entry) => sum(entry.stats, name, labels));
  const ending = (series) => series.length ? series[series.length - 1] : 0;

  // A quantile out of cumulative buckets, from what was added within some seconds.
  const quantile = (name, labels, share, seconds) => {
    const from = before(seconds);
    const old = new Map();
    const key = (sample) => sample.le;
    const add = (map, samples) => samples.filter((sample) => fits(sample, labels))
      .forEach((sample) => map.set(key(sample), (map.get(key(sample)) || 0) + sample.value));
    const now = new Map();
    add(now, family(last().stats, name + "_bucket"));
    if (from !== last()) add(old, family(from.stats, name + "_bucket"));
    const buckets = [...now].map(([le, count]) => [le === "+Inf" ? Infinity : Number(le), count - (old.get(le) || 0)])
      .sort((one, other) => one[0] - other[0]);
    const all = buckets.length ? buckets[buckets.length - 1][1] : 0;
    if (all <= 0) return null;
    let lower = 0, under = 0;
    for (const [bound, count] of buckets) {
      if (count >= share * all) {
        if (bound === Infinity) return { over: lower };
        const inside = count - under;
        return { value: lower + (bound - lower) * (inside > 0 ? (share * all - under) / inside : 1) };
      }
      lower = bound; under = count;
    }
    return null;
  };

  const number = (value) => value >= 1e6 ? (value / 1e6).toFixed(1) + " M" : value >= 1e4 ? (value / 1e3).toFixed(1) + " k"
    : value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
  const seconds = (found) => {
    if (!found) return "–";
    const value = found.over !== undefined ? found.over : found.value;
    const text = value < 0.1 ? (value * 1000).toFixed(value < 0.01 ? 2 : 1) + " ms" : value < 1
      ? (value * 1000).toFixed(0) + " ms" : value.toFixed(1) + " s";
    return (found.over !== undefined ? "> " : "") + text;
  };

  const lines = (all, highest) => {
    const svg = make("svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const height of [1, 50, 99]) svg.append(make("line", { class: "grid", x1: 0, x2: 300, y1: height, y2: height }));
    for (const [series, style] of all) {
      const shown = series.slice(-KEPT);
      const points = shown.map((value, index) =>
        `${(300 - (shown.length - 1 - index)).toFixed(1)},${(98 - 96 * value / highest).toFixed(1)}`);
      if (points.length === 1) points.unshift(points[0].replace(/^[^,]+/, "299"));
      svg.append(make("polyline", { class: style, points: points.join(" ") }));
    }
    return svg;
  };

  const tile = (name, value, unit, series, style) => {
    const element = make("div", { class: "tile" });
    element.append(make("div", { class: "name" }, name));
    const figure = make("div", { class: "value" }, value);
    figure.append(make("span", { class: "unit" }, unit));
    element.append(figure);
    const svg = lines([[series, style]], Math.max(1e-9, ...series));
    svg.querySelectorAll("line").forEach((line) => line.remove());
    element.append(svg);
    return element;
  };

  const chart = (id, all) => {
    const highest = Math.max(1, ...all.flatMap(([, series]) => series));
    const head = make("div", { class: "chart-head" });
    head.append(make("span", {}, number(highest) + "/s"), make("span", {}, `last ${Math.ceil(Math.max(1, history.length - 1) / 60)} min`));
    show(id + "-chart", [head, lines(all.map(([, series, style]) => [series, style]), highest)]);
    show(id + "-legend", all.map(([name, series, style]) => {
      const entry = make("span");
      entry.append(make("span", { class: "key " + style }), document.createTextNode(`${name} ${number(ending(series))}`));
      return entry;
    }));
  };

  // Of the last minute or, where that was quiet, of all.
  const shares = (id, name, wanted) => {
    let parts = wanted.map(([part, labels, style]) => [part, grown(name, labels, 60), style]);
    let all = parts.reduce((total, [, count]) => total + count, 0);
    byId(id + "-when").textContent = all ? "last minute" : "in all";
    if (!all) {
      parts = wanted.map(([part, labels, style]) => [part, sum(last().stats, name, labels), style]);
      all = parts.reduce((total, [, count]) => total + count, 0);
    }
    const bar = make("div", { class: "bar" });
    const legend = make("div", { class: "legend" });
    for (const [name, count, style] of parts) {
      const part = make("div", { class: style });
      part.style.width = all ? `${100 * count / all}%` : "0";
      bar.append(part);
      const entry = make("span");
      const share = all ? ` ${(100 * count / all).toFixed(1)} %` : "";
      entry.append(make("span", { class: "key " + style }), document.createTextNode(`${name} ${number(count)}${share}`));
      legend.append(entry);
    }
    show(id, [bar, legend]);
  };

  const rows = (id, all, columns) => show(id, all.length ? all.map((cells) => {
    const row = make("tr");
    cells.forEach((cell) => row.append(make("td", typeof cell === "object" ? { class: cell.style } : {},
      typeof cell === "object" ? cell.text : cell)));
    return row;
  }) : [(() => {
    const row = make("tr");
    row.append(make("td", { class: "none", colspan: columns }, "none"));
    return row;
  })()]);
  const right = (text) => ({ text, style: "number" });

  const bySeveral = (name, keys, labels = {}) => {
    const found = new Map();
    for (const sample of family(last().stats, name)) {
      if (!fits(sample, labels)) continue;
      const values = keys.map((key) => sample[key]);
      found.set(JSON.stringify(values), values);
    }
    // The metrics come in no order of their own; rows are to stay where they are.
    return [...found].sort().map(([, values]) => values).map((values) => [values, Object.fromEntries(keys.map((key, index) => [key, values[index]]))]);
  };

  const failed = (outcome) => outcome !== "ok";
  const draw = () => {
    const handshakes = "gateway_handshakes_total", requests = "gateway_requests_total";
    const open = levels("gateway_connections_open");
    const done = rates(handshakes, { outcome: "ok" }), asked = rates(requests), shed = rates("gateway_shed_total");
    const slow = history.map((_, index) => (history[index].p99 || 0));
    show("tiles", [
      tile("Open connections", number(ending(open)), "", open, "a"),
      tile("Handshakes", number(ending(done)), "a second", done, "c"),
      tile("Requests", number(ending(asked)), "a second", asked, "a"),
      tile("Request p99", seconds(quantile("gateway_request_seconds", {}, 0.99, 10)), "", slow, "e"),
      tile("Shed", number(ending(shed)), "a second", shed, "d"),
    ]);
    chart("handshakes", [
      ["full", rates(handshakes, { kind: (kind) => kind !== "resumed", outcome: "ok" }), "a"],
      ["resumed", rates(handshakes, { kind: "resumed", outcome: "ok" }), "c"],
      ["failed", rates(handshakes, { outcome: failed }), "d"],
      ["shed", shed, "b"],
    ]);
    chart("requests", [
      ["2xx", rates(requests, { status: "2xx" }), "c"],
      ["1xx and 3xx", rates(requests, { status: (status) => status === "1xx" || status === "3xx" }), "a"],
      ["4xx", rates(requests, { status: "4xx" }), "b"],
      ["5xx", rates(requests, { status: "5xx" }), "d"],
    ]);
    shares("cache", "gateway_chain_cache_lookups_total",
      [["hit", { result: "hit" }, "c"], ["miss", { result: "miss" }, "b"], ["stale", { result: "stale" }, "d"]]);
    shares("tickets", "gateway_tickets_total",
      [["accepted", { event: "accepted" }, "c"], ["declined", { event: "declined" }, "d"]]);

    const latency = [];
    for (const [[kind], labels] of bySeveral("gateway_handshake_seconds_bucket", ["kind"])) latency.push(["handshake, " + kind, "gateway_handshake_seconds", labels]);
    for (const [[upstream], labels] of bySeveral("gateway_request_seconds_bucket", ["upstream"])) latency.push(["request, " + (upstream || "no upstream"), "gateway_request_seconds", labels]);
    rows("latency", latency.map(([name, metric, labels]) =>
      [name, ...[0.5, 0.9, 0.99].map((share) => right(seconds(quantile(metric, labels, share, 10))))]), 4);

    const reasons = [
      ...bySeveral(handshakes, ["outcome"], { outcome: failed }).map(([[reason], labels]) => ["handshake", reason, handshakes, labels]),
      ...bySeveral("gateway_denied_total", ["reason"]).map(([[reason], labels]) => ["authorization", reason, "gateway_denied_total", labels]),
      ...bySeveral("gateway_connections_ended_total", ["reason"]).map(([[reason], labels]) => ["open connection", reason, "gateway_connections_ended_total", labels]),
      ...bySeveral("gateway_tickets_total", ["reason"], { event: "declined" }).map(([[reason]]) => ["ticket", reason, "gateway_tickets_total", { event: "declined", reason }]),
    ].map(([stage, reason, metric, labels]) => ({ stage, reason, recent: grown(metric, labels, 60), all: sum(last().stats, metric, labels) }))
      .filter((entry) => entry.all > 0).sort((one, other) => other.recent - one.recent || other.all - one.all);
    rows("refused", reasons.slice(0, 10).map((entry) => [entry.stage, entry.reason, right(number(entry.recent)), right(number(entry.all))]), 4);

    rows("shed", bySeveral("gateway_shed_total", ["stage", "reason"]).map(([[stage, reason], labels]) =>
      [stage || "", reason, right(number(ending(rates("gateway_shed_total", labels)))), right(number(sum(last().stats, "gateway_shed_total", labels)))]), 4);

    // Of an endpoint that is not configured any more, nothing is known of how many addresses serve. Whatever else the metrics say
    // of one is its state.
    const [serving, connected, connections] = ["gateway_upstream_endpoint_up", "gateway_upstream_connections_open", "gateway_upstream_connections_total"];
    const endpoints = new Map();
    for (const sample of family(last().stats, serving)) {
      if (sample.value !== null) endpoints.set(JSON.stringify([sample.upstream, sample.endpoint]), { upstream: sample.upstream, endpoint: sample.endpoint });
    }
    rows("upstreams", [...endpoints].sort().map(([, labels]) => labels).map((labels) => {
      const state = Object.entries(last().stats.metrics)
        .filter(([name, samples]) => ![serving, connected, connections].includes(name) && !/_(bucket|sum|count)$/.test(name) && samples.some((sample) => fits(sample, labels)))
        .map(([name]) => `${name.replace(/^gateway_(upstream_|endpoint_)?/, "").replace(/_total$/, "")} ${number(sum(last().stats, name, labels))}`);
      const up = sum(last().stats, serving, labels);
      return [labels.upstream || "", labels.endpoint, { text: number(up), style: up ? "number" : "number bad" },
        right(number(sum(last().stats, connected, labels))), right(number(ending(rates(connections, labels)))), state.join(", ")];
    }), 6);
  };

  const say = (text, style) => { status.textContent = text; status.className = "pill " + style; };
  const ask = async () => {
    try {
      const headers = token ? { authorization: "Bearer " + token } : {};
      const answer = await fetch("stats", { headers, cache: "no-store", credentials: "same-origin" });
      if (answer.status === 401) {
        byId("login-problem").textContent = token ? "that was not it" : "";
        token = null;
        byId("login").hidden = false;
        document.querySelector("main").hidden = true;
        say("token needed", "warn");
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const stats = await answer.json();
      byId("login").hidden = true;
      document.querySelector("main").hidden = false;
      history.push({ at: performance.now(), stats });
      if (history.length > KEPT + 1) history.shift();
      const found = history.length > 1 ? quantile("gateway_request_seconds", {}, 0.99, 10) : null;
      last().p99 = found ? (found.value === undefined ? found.over : found.value) : 0;
      byId("version").textContent = stats.version;
      say(stats.ready ? "ready" : "draining", stats.ready ? "good" : "warn");
      draw();
      document.body.dataset.answers = String(history.length);
    } catch {
      say("no answer", "bad");
    } finally {
      // Without a token there is nothing to ask with; the form asks again.
      if (byId("login").hidden) setTimeout(ask, 1000);
    }
  };
  byId("login").addEventListener("submit", (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    byId("token").value = "";
    try { sessionStorage.setItem("fleetgate-token", token); } catch { /* kept in memory then */ }
    ask();
  });
  ask();
})();
