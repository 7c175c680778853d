"""The shared memory of a line: slots that hold pictures, and the ledger of its parts."""
