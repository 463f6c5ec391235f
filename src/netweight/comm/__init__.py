"""Compression between networks: gradients, activations and gossip as fewer bytes, under bounds that are checked.

compressor.py   what a compressor is and claims
message.py      several payloads as one message
policy.py       which compressor a vector gets
state/          what is remembered around a compressor
distributed/    averages over the ranks of torch.distributed: DDP, FSDP2, PowerSGD
pipeline/       activations and their gradients across stage boundaries
gossip/         decentralised averaging and training
compressors/    one family a file
coding/         how levels, positions and scales are written
certify/        every compressor against its claim and the limit
bench/          training under compressed gradients, measured
"""

from __future__ import annotations

from typing import Final

from .._lazy import exporter

_HOME_OF: Final = {
    "best": "compressors.best",
    "SubtractiveDithering": "compressors.subtractive",
    "SparseRandomised": "compressors.unit_norm",
    "MaxBlockNorm": "compressors.unit_norm",
    "GaussianCodebook": "compressors.spherical",
    "Spherical": "compressors.spherical",
    "AQSGD": "state.difference",
    "BFloat16": "compressors.cast",
    "CHOCO": "gossip.averaging",
    "Claim": "compressor",
    "Compressor": "compressor",
    "DPSGD": "gossip.averaging",
    "DeepSqueeze": "gossip.averaging",
    "DifferenceMemory": "state.difference",
    "DitheredTrellis": "compressors.trellis",
    "Drive": "compressors.rotated",
    "EF21": "state.difference",
    "Eden": "compressors.rotated",
    "ErrorFeedback": "state.feedback",
    "Float16": "compressors.cast",
    "Gossip": "gossip.run",
    "GossipOptimizer": "gossip.optimizer",
    "Identity": "compressors.cast",
    "InfinityNorm": "compressors.uniform",
    "Kashin": "compressors.kashin",
    "LEAD": "gossip.primal_dual",
    "Memoryless": "state.memoryless",
    "MinMax": "compressors.uniform",
    "NIDS": "gossip.primal_dual",
    "NaturalCompression": "compressors.natural",
    "PipelineLink": "pipeline.link",
    "Policy": "policy",
    "PowerGossip": "gossip.power",
    "PowerSGD": "distributed.powersgd",
    "QSGD": "compressors.uniform",
    "RandK": "compressors.sparse",
    "Rule": "policy",
    "SignMean": "compressors.sign",
    "SparseDithering": "compressors.dithering",
    "TernGrad": "compressors.sign",
    "TopK": "compressors.sparse",
    "Topology": "gossip.topology",
    "TrellisCoded": "compressors.trellis_coded",
    "ddp_hook": "distributed.ddp",
}

__all__ = [
    "AQSGD",
    "CHOCO",
    "DPSGD",
    "EF21",
    "LEAD",
    "NIDS",
    "QSGD",
    "BFloat16",
    "Claim",
    "Compressor",
    "DeepSqueeze",
    "DifferenceMemory",
    "DitheredTrellis",
    "Drive",
    "Eden",
    "ErrorFeedback",
    "Float16",
    "GaussianCodebook",
    "Gossip",
    "GossipOptimizer",
    "Identity",
    "InfinityNorm",
    "Kashin",
    "MaxBlockNorm",
    "Memoryless",
    "MinMax",
    "NaturalCompression",
    "PipelineLink",
    "Policy",
    "PowerGossip",
    "PowerSGD",
    "RandK",
    "Rule",
    "SignMean",
    "SparseDithering",
    "SparseRandomised",
    "Spherical",
    "SubtractiveDithering",
    "TernGrad",
    "TopK",
    "Topology",
    "TrellisCoded",
    "best",
    "ddp_hook",
]

__getattr__ = exporter(__name__, _HOME_OF)
