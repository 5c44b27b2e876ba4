"""Events, finished merges and suggestions as JSON objects; ours, except the job, which is Zendesk's."""

from __future__ import annotations

from gateway.store.paging import Row
from gateway.web.api import shapes
from gateway.web.api.shapes import timestamp


def event(row: Row, base: str) -> Row:
    """What happened. `correction` is null for what cannot be undone."""
    correction = row["correction"]
    return {
        "id": row["id"],
        "ticket_id": row["ticket_id"],
        "kind": row["kind"],
        "actor": row["detail"].get("actor"),
        "detail": {name: value for name, value in row["detail"].items() if name != "actor"},
        "created_at": timestamp(row["at"]),
        "correction": correction
        and {
            "undone": correction["undone_at"] is not None,
            "undone_at": timestamp(correction["undone_at"]),
            "undone_by": correction["undone_by"] or None,
            "undo_url": f"{base}/api/v2/events/{row['id']}/undo.json",
        },
    }


def job_status(row: Row, base: str) -> Row:
    """A merge as the finished job a client waits for. Source: Zendesk developer docs, Job Statuses."""
    merged = row["detail"].get("ticket_ids") or []
    when = row["at"].strftime("%Y-%m-%d %H:%M:%S +0000")
    return {
        "id": str(row["id"]),
        "job_type": "ticket_merge",
        "url": f"{base}/api/v2/job_statuses/{row['id']}.json",
        "total": len(merged),
        "progress": len(merged),
        "status": "completed",
        "message": f"Completed at {when}",
        "results": [
            {"id": ticket, "index": number, "action": "update", "success": True, "status": "Updated"}
            for number, ticket in enumerate(merged)
        ],
    }


def suggestion(row: Row, base: str) -> Row:
    """Somebody may be the same person as another: who, by what, and since when."""
    return {
        "id": row["id"],
        "user_id": row["customer_id"],
        "other_user_id": row["other_id"],
        "author": row["author"],
        "claimed": row["claimed"],
        "reason": row["reason"],
        "ticket_id": row["ticket_id"],
        "created_at": timestamp(row["created_at"]),
        "join_url": f"{base}/api/v2/suggestions/{row['id']}/join.json",
        "decline_url": f"{base}/api/v2/suggestions/{row['id']}/decline.json",
    }


def explanation(row: Row, base: str) -> Row:
    """Why a delivery is where it is. `rejected`: tickets the evidence pointed at and the rules refused."""
    comment = row["comment"] or {}
    why = comment.get("explanation") or {}
    return {
        "receipt": shapes.receipt(row["receipt"], base),
        "duplicate_of": shapes.receipt(row["first"], base) if row["first"] else None,
        "ticket_id": row["ticket"]["id"] if row["ticket"] else None,
        "comment_id": comment.get("id"),
        "verdict": comment.get("verdict"),
        "matched_by": comment.get("matched_by"),
        "evidence": why.get("evidence"),
        "rejected": why.get("rejected", []),
        "trust": comment.get("author_trust"),
        "trust_evidence": comment.get("author_evidence"),
        "cause": row["cause"] or None,
        "corrections": [
            {
                "event_id": one["id"],
                "kind": one["kind"],
                "actor": one["actor"],
                "created_at": timestamp(one["at"]),
                "undone_at": timestamp(one["undone_at"]),
                "undone_by": one["undone_by"] or None,
                "detail": one["detail"],
            }
            for one in row["corrections"]
        ],
    }
