"""The demonstration: a seeded generator of realistic traffic, light senders for every front door, and a report."""

from gateway.demo.main import demo
from gateway.demo.sending import DemoResult, run_demo
from gateway.demo.target import Target
from gateway.demo.traffic import make_traffic

__all__ = ["DemoResult", "Target", "demo", "make_traffic", "run_demo"]
