"""Twisted transports made for proxying."""
