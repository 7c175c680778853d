"""Contains the method `gaussian`: how far features are from those that good parts have at the same place."""
