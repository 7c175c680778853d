"""Backbones: networks that were trained on ImageNet, and the code that finds, downloads and checks them."""
