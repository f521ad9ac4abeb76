"""Plan cells, run them, store them."""

from medrobust.base.deferred_dynamo import put_off_dynamo
from medrobust.base.parted_torchmetrics import part_torchmetrics

part_torchmetrics()  # before anything imports Lightning
put_off_dynamo()
