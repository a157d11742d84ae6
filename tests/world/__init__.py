# SPDX-License-Identifier: MIT
"""The demo world: an internet in network namespaces, real services, and the product between them."""
