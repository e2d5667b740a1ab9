"use strict";
// Shows one wheel of those in the page, and copies its lines; without it, all are there.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const [form, status, declared] = ["chooser", "status", "declared"].map((id) => document.getElementById(id));
  const wheels = new Map(all(".wheel").map((wheel) => [wheel.id, wheel]));
  const inputs = [...form.elements].filter((element) => element.type === "radio");

  const chosen = (changes) => {
    const values = Object.fromEntries(new FormData(form));
    const { tensorflow, python, arch } = { ...values, ...changes };
    return `tf${tensorflow}-${python}-${arch}`;
  };

  const heading = (article) =>
    article.querySelector("h3").textContent.trim().replace(/\s+/g, " ");

  const fill = (target) => {
    const facts = Object.assign({ target }, ...inputs.filter((input) => input.checked).map((input) => input.dataset));
    for (const place of declared.querySelectorAll("[data-fill]")) {
      place.textContent = facts[place.dataset.fill];
    }
    const links = [...wheels.values()]
      .filter((wheel) => wheel.dataset.python === facts.python)
      .map((wheel) => {
        const link = document.createElement("a");
        link.href = `#${wheel.id}`;
        link.textContent = heading(wheel);
        return link;
      });
    document.getElementById("others").replaceChildren(...links.flatMap((link) => [link, " "]));
    document.getElementById("instead").hidden = links.length === 0;
  };

  // Gives what is shown.
  const show = () => {
    const target = chosen();
    for (const [id, wheel] of wheels) wheel.hidden = id !== target;
    declared.hidden = wheels.has(target);
    fill(target);
    for (const input of inputs) {
      const without = !wheels.has(chosen({ [input.name]: input.value }));
      input.parentElement.classList.toggle("without", without);
      input.parentElement.querySelector(".note").hidden = !without;
    }
    return wheels.get(target) ?? declared;
  };

  const announce = (text) => {
    // The same text twice is only announced if it was gone between.
    status.textContent = "";
    setTimeout(() => { status.textContent = text; }, 50);
  };

  // Whether the address names a target of the choices, which are then made.
  const follow = () => {
    const parts = /^#tf(.+)-(cp\d+)-([^-]+)$/.exec(location.hash);
    if (!parts) return false;
    const [, tensorflow, python, arch] = parts;
    const wanted = Object.entries({ tensorflow, python, arch }).map(([name, value]) =>
      inputs.find((input) => input.name === name && input.value === value));
    if (!wanted.every(Boolean)) return false;
    for (const input of wanted) input.checked = true;
    return true;
  };

  form.addEventListener("change", () => {
    const article = show();
    history.replaceState(null, "", `#${chosen()}`);
    announce(heading(article));
  });

  addEventListener("hashchange", () => {
    if (!follow()) return;
    const article = show();
    article.scrollIntoView();
    article.focus({ preventScroll: true });
  });

  // Where the browser withholds the clipboard, as on plain http, the old way may do.
  const copy = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy");
    }
  };

  for (const button of all(".copy")) {
    const label = [...button.childNodes];
    let timer;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copy(document.getElementById(button.dataset.copies));
      clearTimeout(timer);
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      announce(done ? `Copied ${button.dataset.what}` : "Selected: press Ctrl+C to copy");
      timer = setTimeout(() => button.replaceChildren(...label), 2000);
    });
  }

  // From a mirror or a folder of one's own, what is beside the page is what users mean.
  const here = new URL(".", location.href).href;
  const home = document.querySelector("link[rel=canonical]")?.href;
  if (location.protocol.startsWith("http") && here !== home) {
    for (const base of all("[data-base], [data-here]")) base.textContent = here;
    for (const end of all("[data-checksum]")) end.textContent = end.dataset.checksum;
    document.getElementById("elsewhere").hidden = false;
  }

  const today = new Date().toISOString().slice(0, 10);
  for (const time of all("time.end")) if (time.dateTime <= today) time.after(" (passed)");

  form.hidden = false;
  follow();
  show();
})();
