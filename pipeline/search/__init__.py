"""Hyper-parameter search: which parameters of the network do best on rows held out in turn."""
