"""Tests of many scans."""
