"""The methods that judge a part, a folder each, and what they share."""
