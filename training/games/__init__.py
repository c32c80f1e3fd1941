"""The games that recipes play: how the two players step."""
