"""A provider to develop and test against: OpenAI's wire format, with limits, latency, prices and faults of its own.

Everything it says is drawn from its seed: the same seed and the same request give the same text, the same token
counts and the same delays, whatever else arrives before or meanwhile. `app.py` is its front door.
"""
