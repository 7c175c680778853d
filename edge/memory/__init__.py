"""The shared memory of a line: slots with the pictures of parts, and a ledger with a row for each part."""
