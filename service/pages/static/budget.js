// The slider: a budget is chosen from the list that the page has, and what it comes to is shown at once.

const list = document.getElementById("positions");

if (list) {
  const slider = document.getElementById("slider");
  const range = document.getElementById("position");
  const here = document.getElementById("here");

  const show = () => {
    const chosen = list.options[range.valueAsNumber];
    list.selectedIndex = range.valueAsNumber;
    document.getElementById("chosen").textContent = chosen.value;
    document.getElementById("then").textContent = chosen.value;
    range.setAttribute("aria-valuetext", chosen.textContent.trim());
    for (const cell of document.querySelectorAll("[data-field]")) {
      cell.textContent = chosen.dataset[cell.dataset.field];
    }
    for (const end of ["x1", "x2"]) here?.setAttribute(end, chosen.dataset.x);
  };

  slider.hidden = false;
  document.getElementById("plain").hidden = true;
  for (const cell of document.querySelectorAll("#compared .then")) cell.hidden = false;
  range.addEventListener("input", show);
  show();
}
