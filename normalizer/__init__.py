"""Pure text and mail reading: values in, values out. No I/O, no asyncio, no clock, no settings, no logging."""
