"""Instruments on their way out: as an ONNX graph, as a TorchScript for nn~, as a model for Neutone."""
