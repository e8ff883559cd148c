// Keeps the counters live, moves on from an empty page when something comes, and adds copy buttons.
// Every page works without this file.
(function () {
  "use strict";

  var body = document.body;
  var state = body.dataset.state;
  var counters = document.querySelectorAll("[data-status]");

  function lookUp(status, path) {
    return path.split(".").reduce(function (value, key) { return value === undefined ? undefined : value[key]; }, status);
  }

  function show(status) {
    counters.forEach(function (element) {
      var value = lookUp(status, element.dataset.status);
      if (typeof value === "number") {
        element.textContent = value.toLocaleString("en-US");
      }
    });
    var received = status.received.spans + status.received.logs;
    var moved = (state === "nothing" && received > Number(body.dataset.received))
      || ((state === "waiting" || state === "logs") && status.analysis.traces_analyzed > Number(body.dataset.analyzed));
    if (moved) {
      window.location.reload();
    }
  }

  function poll() {
    if (document.hidden) {
      return;
    }
    fetch("/api/v1/status", { headers: { Accept: "application/json" } })
      .then(function (answer) { return answer.ok ? answer.json() : null; })
      .then(function (status) { if (status) { show(status); } })
      .catch(function () { /* the daemon is restarting: the next poll tells */ });
  }

  if (counters.length) {
    window.setInterval(poll, state === "nothing" || state === "logs" || state === "waiting" ? 2000 : 5000);
  }

  if (navigator.clipboard) {
    document.querySelectorAll("pre.copy").forEach(function (block) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", function () {
        navigator.clipboard.writeText(block.querySelector("code").textContent).then(function () {
          button.textContent = "Copied";
          window.setTimeout(function () { button.textContent = "Copy"; }, 1500);
        });
      });
      block.appendChild(button);
    });
  }
})();
