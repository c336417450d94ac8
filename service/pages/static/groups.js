// Ticks of a group: all at once, and how many there are.

for (const group of document.querySelectorAll(".alike")) {
  const every = group.querySelector(".every");
  const count = group.querySelector(".count");
  const ticks = [...group.querySelectorAll("[name=event_id]")];
  const buttons = group.querySelectorAll(".buttons button");

  const tell = () => {
    const ticked = ticks.filter((tick) => tick.checked).length;
    count.textContent = `${ticked} of ${ticks.length}`;
    every.checked = ticked === ticks.length;
    every.indeterminate = ticked > 0 && ticked < ticks.length;
    for (const button of buttons) button.disabled = ticked === 0;
  };

  every.closest("label").hidden = false;
  every.addEventListener("change", () => {
    for (const tick of ticks) tick.checked = every.checked;
    tell();
  });
  group.addEventListener("change", tell);
  tell(); // a browser that goes back keeps what was ticked
}
