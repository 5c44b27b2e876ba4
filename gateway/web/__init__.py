"""The HTTP front door: forms, chat, provider webhooks, health, and (in their own folders) the API and the console."""
