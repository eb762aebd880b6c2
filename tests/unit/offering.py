"""Kinds of workers that other packages offer, as an installed package does it."""

from pathlib import Path


def offer(folder: Path, *entries: str, package: str = "shop", group: str = "greenhorn.workers") -> None:
    """Make `folder`, which is to stand on sys.path, have a package with these entry points of worker classes."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *entries, ""]))
