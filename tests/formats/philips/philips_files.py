"""A pair of `.list` and `.data` as a Philips scanner exports it, from images, by the rules that a `.list` states.

Images are put into the spectrum where the ranges say, the spectrum is what a forward transform makes of k-space, and
vectors stand in the `.data` by size and offset. Nothing of this is shared with the reader.
"""

from dataclasses import dataclass, field

import numpy as np

from raki.phantom import phantom_kspace

HEAD = """# === DATA DESCRIPTION FILE ======================================================
#
# CAUTION - Investigational device.
# Limited by Federal Law to investigational use.
#
# Scan name   : made up
# Gyroscan SW release            : 5.1-7
#
# === GENERAL INFORMATION ========================================================
#
# n.a. n.a. n.a.  number of ...                        value
# ---- ---- ----  ----------------------------------   -----
"""
NAMES = "typ mix dyn card echo loca chan extr1 extr2 ky kz n.a. aver sign rf grad enc rtop rr size offset"


def phantom_images(n_slices=2, n_coils=4, matrix=32, seed=0):
    """Images of the phantom as the scanner would show them, `slice coil y x`."""
    kspace = phantom_kspace(n_slices=n_slices, n_coils=n_coils, matrix=matrix, seed=seed)
    return centred(np.fft.ifft2, kspace, (-2, -1))


def centred(transform, values, axes):
    return np.fft.fftshift(transform(np.fft.ifftshift(values, axes), axes=axes, norm="ortho"), axes)


@dataclass
class Pair:
    """Vectors and information of a pair, which a test may change before it is written."""

    information: dict = field(default_factory=dict)
    vectors: list = field(default_factory=list)
    names: str = NAMES

    def add(self, kind, samples, **attributes):
        self.vectors.append((kind, np.asarray(samples, "<c8"), attributes))

    def content(self):
        rows, data = [], b""
        for kind, samples, attributes in self.vectors:
            values = {"sign": 1, "size": samples.nbytes, "offset": len(data), **attributes}
            numbers = [str(values.get(name, 0)) for name in self.names.split()[1:]]
            rows.append("  " + " ".join([kind, *(number.rjust(5) for number in numbers)]))
            data += samples.tobytes()
        told = [f".    {place}  {name:<35}:  {value}" for (name, place), value in self.information.items()]
        rule = "# === START OF DATA VECTOR INDEX =================================================\n#\n"
        end = "#\n# === END OF DATA VECTOR INDEX ===================================================\n"
        text = (
            HEAD + "\n".join(told) + "\n#\n" + rule + f"# {self.names}\n# --- -----\n#\n" + "\n".join(rows) + "\n" + end
        )
        return text.encode() + b"# === END OF DATA DESCRIPTION FILE ===\n", data

    def write(self, path):
        """Writes both; `path` is the `.list`."""
        text, data = self.content()
        path.write_bytes(text)
        path.with_suffix(".data").write_bytes(data)
        return path


def spectrum_of(images, lengths, ranges):
    """Images in their ranges of a spectrum, over the last axes; what lies outside of them is empty."""
    spectrum = images
    for axis, (length, (start, end)) in enumerate(zip(lengths, ranges, strict=True), images.ndim - len(lengths)):
        step = 1 if start <= end else -1
        at = np.arange(start, end + step, step) % length
        wide = np.zeros((*spectrum.shape[:axis], length, *spectrum.shape[axis + 1 :]), complex)
        wide[(slice(None),) * axis + (at,)] = spectrum
        spectrum = wide
    return spectrum


def general(n_dimensions=2, **counts):
    numbers = {"number_of_encoding_dimensions": n_dimensions, "number_of_dynamic_scans": 1, "number_of_locations": 1}
    return {("number_of_mixes", "0    0    0"): 1, **{(n, "0    0    0"): v for n, v in {**numbers, **counts}.items()}}


def axis_information(letter, n_image, oversampling, range_, limits, sense=1.0):
    low = letter.lower()
    return {
        (f"k{low}_range", "0    0    0"): f"{limits[0]:5d}  {limits[1]:5d}",
        (f"k{low}_oversample_factor", "0    0    0"): f"{oversampling:9.4f}",
        (f"{letter}-resolution", "0    0    0"): n_image,
        (f"{letter}-direction SENSE factor", "0    0    0"): f"{sense:9.4f}",
        (f"{letter}_range", "0    0    0"): f"{range_[0]:5d}  {range_[1]:5d}",
    }


def centred_range(n):
    return -(n // 2), n - n // 2 - 1


def scan_2d(
    images,
    *,
    oversampling=(1.0, 2.0),
    ranges=None,
    kx=None,
    lines=None,
    channels=None,
    noise=None,
    averages=1,
    signs=None,
    phx=None,
    noise_level=0.0,
    **attributes,
):
    """A pair of images `slice coil y x`.

    Args:
        ranges: of the images in their spectra, y and x.
        kx: first and last sample.
        lines: of ky, those that are acquired.
        channels: numbers of the coils.
        noise: samples `coil sample` of the noise scan.
        signs: of the gradient, for each line.
        phx: factors `coil x` that undo what a negative gradient does to a profile.
        attributes: of all lines.
    """
    n_slices, n_coils, n_y, n_x = images.shape
    lengths = round(n_y * oversampling[0]), round(n_x * oversampling[1])
    ranges = ranges or (centred_range(n_y), centred_range(n_x))
    kx = kx or centred_range(lengths[1])
    lines = list(range(*np.add(centred_range(lengths[0]), (0, 1)))) if lines is None else list(lines)
    channels = list(range(n_coils)) if channels is None else channels
    signs = [1] * len(lines) if signs is None else signs
    pair = Pair()
    pair.information |= general(number_of_locations=n_slices)
    pair.information |= axis_information("X", n_x, oversampling[1], ranges[1], kx)
    pair.information |= axis_information("Y", n_y, oversampling[0], ranges[0], (min(lines), max(lines)))
    for channel, samples in zip(channels, noise if noise is not None else [], strict=False):
        pair.add("NOI", samples, chan=channel)
    for sign in sorted(set(signs)) if phx is not None else []:
        for coil, channel in enumerate(channels):
            for number in range(n_slices):
                factors = phx[coil] if sign < 0 else np.ones(n_x)
                pair.add("PHX", factors, chan=channel, loca=number, sign=sign)
    random = np.random.default_rng(1)
    for number, image in enumerate(images):
        for average in range(averages):
            straight = kspace_of(image, lengths, ranges)
            turned = straight if phx is None else kspace_of(image / phx[:, None], lengths, ranges)
            for ky, sign in zip(lines, signs, strict=True):
                at = np.arange(kx[0], kx[1] + 1) % lengths[1]
                for coil, channel in enumerate(channels):
                    samples = (turned if sign < 0 else straight)[coil, ky % lengths[0], at]
                    samples = samples + noise_level * random.standard_normal((*samples.shape, 2)) @ (1, 1j)
                    where = {"loca": number, "ky": ky, "chan": channel, "sign": sign, "aver": average}
                    pair.add("STD", samples, **{**where, **attributes})
    return pair


def kspace_of(image, lengths, ranges):
    """k-space whose forward transform holds the image in its ranges; the centre of k-space at index 0."""
    spectrum = spectrum_of(image, lengths, ranges)
    axes = tuple(range(-len(lengths), 0))
    return np.fft.ifftn(spectrum, axes=axes, norm="ortho")
