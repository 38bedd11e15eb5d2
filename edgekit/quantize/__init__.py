"""From a float network to an int8 program: in order, `program` (export and canonical graph),
`equalize`, `statistics` and `ranges` (calibration), `annotate` (which tensor gets which scale),
`lower` (PT2E) and `correct` (bias correction). `recipe` chooses among the methods.
"""

from edgekit.quantize import third_party_warnings  # noqa: F401  (before torchao is imported below)
