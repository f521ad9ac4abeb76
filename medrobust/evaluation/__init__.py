"""Plan cells, run them, store them."""

from medrobust.base.parted_torchmetrics import part_torchmetrics

part_torchmetrics()  # before anything imports Lightning
