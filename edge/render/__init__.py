"""Bare boards, drawn and photographed: pictures whose defects are known."""
