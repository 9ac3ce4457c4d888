"""Promotions: releases go along the pipeline, through its gates, and back."""
