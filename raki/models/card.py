"""The card of a model, `README.md`: a front matter as Hugging Face's hub has it, and what a person asks first."""

import json
from collections.abc import Iterator

from raki.models.document import ModelFile

TAGS = ("mri", "image-reconstruction", "k-space", "parallel-imaging", "raki")


def card(document: ModelFile) -> str:
    """The text for a description; files' digests aren't read, as that of the card is one of them."""
    return "\n".join([*_front_matter(document), *_body(document)]) + "\n"


def _front_matter(document: ModelFile) -> Iterator[str]:
    """YAML, of which JSON is a part: strings are written as that. Hugging Face Hub, "Model Cards"."""
    yield "---"
    yield f"license: {json.dumps(document.license.lower())}"
    yield "library_name: raki"
    yield f"tags: {json.dumps(list(dict.fromkeys([*TAGS, document.architecture.name])))}"
    yield f"model_name: {json.dumps(document.name)}"
    yield f"version: {json.dumps(document.version)}"
    yield "---"


def _body(document: ModelFile) -> Iterator[str]:
    made_for = document.made_for
    read_mm, phase_mm = made_for.encoded_fov_mm[1], made_for.encoded_fov_mm[0]
    yield f"\n# {document.name} {document.version}\n"
    yield f"{document.intended_use}\n"
    yield f"**Limits.** {document.limits}\n"
    yield "| | |\n| --- | --- |"
    yield f"| architecture | {document.architecture.name}, seed {document.architecture.seed} |"
    yield f"| coils | {made_for.n_coils}{', decorrelated by noise' if made_for.prewhitened else ''} |"
    yield f"| R | {' x '.join(str(step) for step in made_for.lattice[:2])} |"
    yield f"| k-space | {made_for.n_phase_encode} x {made_for.n_readout} samples |"
    yield f"| encoded field of view | {phase_mm:.4g} x {read_mm:.4g} mm (phase-encode x readout) |"
    if made_for.field_strength_t is not None:
        yield f"| field strength | {made_for.field_strength_t:.3g} T |"
    frames = "" if made_for.n_frames == 1 else f" in {made_for.n_frames} frames"
    yield f"| slices | {made_for.n_slices}{frames} |"
    for source in document.made_from:
        yield f"| made from | raw data sha256:{source.raw_sha256[:12]}…, {source.created_utc} |"
    yield f"| software | {', '.join(f'{name} {version}' for name, version in document.software.items())} |"
    if document.scores:
        yield "\n## Scores\n"
        yield "| score | value | measured |\n| --- | --- | --- |"
        yield from (f"| {score.name} | {score.value:.3g} | {score.benchmark} |" for score in document.scores)
    yield "\n## Use\n"
    yield f"```sh\nraki reconstruct scan.h5 -o out --model {document.name}@{document.version}\n```\n"
    yield "For research use only. Nothing in a model is run: it holds numbers and facts."
