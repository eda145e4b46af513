"""The images that pools may name. Whichever it is, a local node runs on this machine's own system."""

from __future__ import annotations

from typing import NamedTuple

from millpond.common.clock import from_iso, to_iso


class Image(NamedTuple):
    sku_id: str
    publisher: str
    offer: str
    sku: str
    #: When support for it ends, if that is known.
    end_of_life: str = ""


#: Verified images, newest first: programs that look for one take the first that they like.
IMAGES: tuple[Image, ...] = (
    Image("batch.node.ubuntu 24.04", "canonical", "ubuntu-24_04-lts", "server"),
    Image("batch.node.ubuntu 24.04", "microsoft-dsvm", "ubuntu-hpc", "2404"),
    Image("batch.node.ubuntu 22.04", "canonical", "0001-com-ubuntu-server-jammy", "22_04-lts"),
    Image("batch.node.ubuntu 22.04", "microsoft-dsvm", "ubuntu-hpc", "2204"),
    Image("batch.node.ubuntu 20.04", "canonical", "0001-com-ubuntu-server-focal", "20_04-lts", "2025-04-22"),
    Image("batch.node.ubuntu 18.04", "Canonical", "UbuntuServer", "18.04-LTS", "2023-06-30"),
    Image("batch.node.ubuntu 16.04", "Canonical", "UbuntuServer", "16.04-LTS", "2021-05-21"),
    Image("batch.node.debian 12", "debian", "debian-12", "12"),
    Image("batch.node.debian 11", "debian", "debian-11", "11", "2026-06-30"),
    Image("batch.node.el 9", "almalinux", "almalinux-x86_64", "9-gen2"),
    Image("batch.node.el 8", "almalinux", "almalinux-x86_64", "8-gen2"),
)


def end_of_life(image: Image) -> str | None:
    return to_iso(from_iso(image.end_of_life)) if image.end_of_life else None
