"""What makes an export one that can be trusted: its endpoints, its checks, and what lies beside it.

`graph`, `operations`, `probe` and `manifest` need no Keras, so that a server can use them.
"""
