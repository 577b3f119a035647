// Looks for news while something is being checked. Without it the page works as well, by reloading.
const list = document.getElementById("avatars");
const summary = document.getElementById("summary");

async function look() {
  if (document.hidden || !list.querySelector('[data-state="checking"]')) return;
  const answer = await fetch("/");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const news = page.getElementById("avatars");
  // Whoever is at a button keeps it.
  if (!answer.ok || !news || list.contains(document.activeElement) || news.innerHTML === list.innerHTML) return;
  list.replaceChildren(...news.childNodes);
  summary.textContent = page.getElementById("summary").textContent;
}

setInterval(() => look().catch(() => {}), 1000);
