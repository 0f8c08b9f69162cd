"""`status.html` in the results: the last scans at a glance, for those who only see the share.

One file, without anything from elsewhere but the small pictures of results that stand beside it.

It names scans by their results folder, as the share does; whoever sees the page sees the folders.
"""

import html
from collections.abc import Sequence
from datetime import datetime
from string import Template
from urllib.parse import quote

from raki.errors import NoiseAlone
from raki.service.record import ScanRecord, State
from raki.service.situation import Activity, count_states, duration, shown_state, situation
from raki.wording import plain

MOST = 100
"""Scans on the page, which bounds its size."""

WORDS = {Activity.WAITS: "waiting for", Activity.RUNS: "for", Activity.DONE: "in"}


def status_page(scans: Sequence[ScanRecord], now: datetime) -> str:
    """The page. A scan with a result counts as done though its share doesn't show it yet: it comes with this page."""
    counts = "".join(f"<li><b>{n}</b> {state}</li>" for state, n in count_states(scans).items())
    return PAGE.substitute(
        at=_time(now),
        counts=counts or "<li>No scans in the last week</li>",
        rows="\n".join(_row(record, now) for record in scans),
        most=MOST,
    )


def _row(record: ScanRecord, now: datetime) -> str:
    at = situation(record, now)
    name = html.escape(plain(record.results_folder))
    folder = "../" + quote(record.results_folder)
    page = _page_of(record, at.activity)
    title = f'<a href="{folder}/{page}">{name}</a>' if page else name
    picture = ""
    if record.state in (State.RECONSTRUCTED, State.DELIVERED):
        picture = f'<img src="{folder}/preview.png" alt="" loading="lazy">'
    sentence = ""
    if record.state is State.FAILED and record.failure:
        sentence = f"<p>{html.escape(record.failure)}</p>"
    time = f"{WORDS[at.activity]} {duration(at.seconds)}" if at.activity in WORDS else ""
    return (
        f'<li class="{at.activity}">{picture}<div><h2>{title}</h2>'
        f'<span class="state">{shown_state(record)}</span> {time} · since {_time(at.since)}{sentence}</div></li>'
    )


def _page_of(record: ScanRecord, activity: Activity) -> str | None:
    if record.state in (State.RECONSTRUCTED, State.DELIVERED):
        return "report.html"
    if record.failure_class == NoiseAlone.__name__:
        return "note.html"
    return "error.html" if activity in (Activity.FAILED, Activity.CANCELLED) else None


def _time(at: datetime) -> str:
    return f'<time datetime="{at.isoformat()}">{at:%Y-%m-%d %H:%M} UTC</time>'


PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>raki: the last scans</title>
<style>
  :root { color-scheme: light dark; --text: #111; --dim: #555; --bad: #a8281a; --good: #1b6b36; --busy: #0b5a8a; }
  @media (prefers-color-scheme: dark) {
    :root { --text: #eee; --dim: #b5b5b5; --bad: #ff9d8f; --good: #7fd69b; --busy: #8cc8f0; }
  }
  body { color: var(--text); background: Canvas; font: 16px/1.5 system-ui, sans-serif; }
  body { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem; }
  h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
  header p, footer { color: var(--dim); font-size: .9rem; }
  ul { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; padding: 0; list-style: none; }
  ol { padding: 0; list-style: none; }
  ol li { display: flex; gap: .9rem; padding: .7rem 0; border-top: 1px solid #8886; }
  img { width: 96px; height: 48px; object-fit: cover; object-position: left; background: #000; flex: none; }
  ol div { min-width: 0; color: var(--dim); font-size: .92rem; }
  h2, h2 a { color: var(--text); }
  .state { font-weight: 600; } .failed .state { color: var(--bad); } .done .state { color: var(--good); }
  .waits .state, .runs .state { color: var(--busy); }
  ol p { margin: .2rem 0 0; color: var(--text); overflow-wrap: anywhere; }
</style>
</head>
<body>
<header>
<h1>The last scans</h1>
<p>As of $at, written whenever results are put on the share.
<label><input type="checkbox" id="again" checked> Look again each minute</label></p>
</header>
<main>
<ul>$counts</ul>
<ol>
$rows
</ol>
</main>
<footer>The newest $most scans of the last seven days. raki, for research use only. Not a medical device.</footer>
<script>
  for (const time of document.querySelectorAll("time")) time.textContent = new Date(time.dateTime).toLocaleString();
  const again = document.getElementById("again");
  try { again.checked = sessionStorage.rakiAgain !== "no"; } catch {}
  again.onchange = () => { try { sessionStorage.rakiAgain = again.checked ? "yes" : "no"; } catch {} };
  setInterval(() => { if (again.checked && !document.hidden) location.reload(); }, 60000);
</script>
</body>
</html>
""")
