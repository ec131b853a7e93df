// That something goes on to the right: boxes that scroll sideways show it, and say it.

/** Watch every .scroll of the page; its frame gets the classes more-left and more-right while there is more there. */
export function watchScrolling() {
  for (const box of document.querySelectorAll(".scroll")) {
    const frame = box.parentElement;
    frame.classList.add("scroll-frame");
    const look = () => {
      frame.classList.toggle("more-left", box.scrollLeft > 2);
      frame.classList.toggle("more-right", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
    };
    box.addEventListener("scroll", look, { passive: true });
    const watch = new ResizeObserver(look);
    watch.observe(box);
    for (const child of box.children) watch.observe(child);
  }
}
