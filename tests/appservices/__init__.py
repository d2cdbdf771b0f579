"""Tests of what application services are told."""
