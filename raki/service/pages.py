"""The pages on the share that say why there is no image: for people, and the same for programs."""

import html
import json
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from raki.errors import Cancelled, NoiseAlone, RakiError
from raki.service.record import ScanRecord
from raki.wording import plain


class Told(RakiError):
    """A failure that the ledger tells of."""

    def __init__(self, record: ScanRecord) -> None:
        super().__init__(record.failure or "")
        self._failure_class = record.failure_class or type(self).__name__

    @property
    def failure_class(self) -> str:
        """That which stands in the ledger."""
        return self._failure_class


def write_error_report(folder: Path, record: ScanRecord, error: RakiError) -> list[Path]:
    """Writes `error.json` for programs and `error.html` for people into `folder`.

    Of a noise scan they are called `note`, and the page doesn't look like that of a failure.
    """
    words, name = WORDS.get(error.failure_class, (FAILURE, "error"))
    facts = {
        "scan_id": record.scan_id,
        "failure_class": error.failure_class,
        "failure": error.sentence,
        "failed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    report, page = folder / f"{name}.json", folder / f"{name}.html"
    report.write_text(json.dumps(facts, indent=2), encoding="utf-8")
    escaped = {name: html.escape(value) for name, value in facts.items()}
    page.write_text(
        ERROR_PAGE.substitute(escaped, **words, name=html.escape(plain(record.shown_name))), encoding="utf-8"
    )
    return [report, page]


FAILURE = {
    "title": "Not reconstructed",
    "heading": "This scan could not be reconstructed",
    "colour": "#c0392b",
    "kind": "Kind of failure",
    "advice": "The raw scan is untouched and kept. After mending the cause, drop the file again to have it tried anew.",
}
NOTE = {
    "title": "A scan beside an image",
    "heading": "A scan beside an image, and no image of its own",
    "colour": "#7f8c8d",
    "kind": "Kind",
    "advice": "Nothing has failed. The raw scan is untouched and kept.",
}
CANCELLED = {
    "title": "Cancelled",
    "heading": "This scan was cancelled",
    "colour": "#7f8c8d",
    "kind": "Kind",
    "advice": "The raw scan is untouched and kept. To have it reconstructed after all, drop the file again, or ask the "
    "operator for <code>raki retry</code>.",
}
WORDS = {NoiseAlone.__name__: (NOTE, "note"), Cancelled.__name__: (CANCELLED, "error")}
"""By the class of failure, where it is none in the sense of the word: what the page says, and what it is called."""
# No Jinja, as for the report: this package has to start fast, and imports the standard library and boto3 alone.
ERROR_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title: $name</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.55 system-ui, sans-serif; max-width: 42rem; margin: 12vh auto; padding: 0 1.5rem; }
  h1 { font-size: 1.5rem; margin-bottom: .3rem; }
  .sentence { border-left: 4px solid $colour; padding: .3rem 0 .3rem 1rem; font-size: 1.1rem; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin-top: 2rem; }
  dt, footer { opacity: .65; } dd { margin: 0; overflow-wrap: anywhere; }
  footer { margin-top: 3rem; font-size: .85rem; }
</style>
</head>
<body>
<h1>$heading</h1>
<p>$name</p>
<p class="sentence">$failure</p>
<p>$advice</p>
<dl>
<dt>$kind</dt><dd>$failure_class</dd>
<dt>When</dt><dd>$failed_at</dd>
<dt>Scan id, for the operator</dt><dd>$scan_id</dd>
</dl>
<footer>raki, for research use only. Not a medical device.</footer>
</body>
</html>
""")
