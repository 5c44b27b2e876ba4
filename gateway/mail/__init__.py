"""Mail by SMTP and LMTP: the conversation (`session`), its message reader (`data`), its words (`replies`), the handover
to the door (`delivery`) and the budgets (`limits`). `gateway.mailserver` listens and stops."""
