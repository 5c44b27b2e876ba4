"""What one person really sends twice, and what only looks like it."""

LOGIN = (
    "Hello, since this morning I cannot log in to our workspace. After I enter my password the page just loads "
    "forever and then shows a blank screen. I tried Chrome and Firefox."
)
ORDER = (
    "Hi, my order 104233 was supposed to arrive on Tuesday but the tracking page has not changed since Friday. "
    "Can you please find out where the parcel is?"
)
RECHNUNG = (
    "Guten Tag, ich habe gestern die Rechnung 2026-1181 zweimal abgebucht bekommen. "
    "Bitte überweisen Sie mir einen der beiden Beträge zurück."
)
NIMOTSU = (
    "先日注文した商品がまだ届いていません。追跡ページは金曜日から更新されていないようです。"
    "荷物の所在を確認していただけますか。"
)
ZHUOZI = "您好，我上週訂購的桌子今天收到了，但是其中一隻桌腳有裂痕，無法組裝。請問可以更換嗎？我需要提供照片嗎？"
DUKHUL = (
    "مرحبا، لم أتمكن من تسجيل الدخول إلى حسابي منذ صباح اليوم، وتظهر لي صفحة بيضاء بعد إدخال كلمة المرور. "
    "أرجو المساعدة في أقرب وقت."
)
OPLATA = (
    "Здравствуйте, вчера я оплатила заказ дважды, деньги списались с карты два раза. Прошу вернуть один из платежей."
)
SIGNED = "\n\nKind regards\nErika Brandt\nHarbor & Pine GmbH\nTel. +49 30 23125 001\nwww.harborpine.example"
CONFIDENTIAL = (
    "This e-mail is confidential and intended only for the addressee. If you are not the addressee, please delete it "
    "and tell the sender at once. "
)
LEAVER = (
    "Hello, please deactivate the account of {}, who leaves the company at the end of this month. "
    "Remove all channels too. Thank you."
)
ALERT = (
    "ALERT: disk usage on {} is above 90 percent. Please free some space or extend the volume. "
    "This is an automatic message."
)

SAME = {
    "typing errors corrected": (LOGIN, LOGIN.replace("password", "pasword").replace("forever", "for ever")),
    "a sentence added": (LOGIN, LOGIN + " Our admin has the same problem."),
    "a sentence left out": (LOGIN, LOGIN.replace(" I tried Chrome and Firefox.", "")),
    "a link added": (LOGIN, LOGIN + " Screenshot: https://img.example/a1.png"),
    "the order's number added": (ORDER.replace(" 104233", ""), ORDER),
    "the form, then a mail with a signature": (ORDER, ORDER + SIGNED),
    "the form, then a mail with a disclaimer": (ORDER, ORDER + "\n\nTom Bell\n" + CONFIDENTIAL * 2),
    "a salutation and a name": (ORDER[4:], f"Dear support team,\n\n{ORDER[4:]}\n\nThanks\nTom"),
    "wrapped lines and quotation marks": (LOGIN, LOGIN.replace("this morning I", "this\nmorning I").replace(".", " .")),
    "German": (RECHNUNG, RECHNUNG.replace("Sie mir", "sie mir") + "\n\nMit freundlichen Grüßen\nUwe Krause"),
    "Japanese": (NIMOTSU, f"お世話になっております。{NIMOTSU}田中"),
    "Chinese": (ZHUOZI, ZHUOZI.replace("今天", "今天早上") + "謝謝"),
    "Arabic": (DUKHUL, DUKHUL + " شكرا جزيلا"),
    "Russian": (OPLATA, OPLATA.replace("деньги", "денги") + " Спасибо"),
}

DIFFERENT = {
    "thanks": ("Thanks!", "Thanks!!"),
    "any news": ("Any news?", "Any news yet?"),
    "a reminder": (
        "Is there any update on my ticket please? It is urgent.",
        "Is there any update on my tickets please? It's urgent.",
    ),
    "a short answer": ("It still does not work, same as yesterday.", "It still does not work, same as before."),
    "another order": (ORDER, ORDER.replace("104233", "104299")),
    "another order, signed": (ORDER, ORDER.replace("104233", "104299") + SIGNED),
    "an alert about another machine": (ALERT.format("web-01.example.com"), ALERT.format("web-02.example.com")),
    "the same alert at another time": (
        "Backup of host atlas failed at 02:10 with exit code 3. See the log for details. The next run starts tomorrow.",
        "Backup of host atlas failed at 03:10 with exit code 3. See the log for details. The next run starts tomorrow.",
    ),
    "another leaver": (LEAVER.format("Anna Schmidt"), LEAVER.format("Peter Olsen")),
    "another leaver, one word": (LEAVER.format("our colleague Anna"), LEAVER.format("our colleague Peter")),
    "another leaver, Japanese": (
        "退職者のアカウントを停止してください。対象は田中健太です。今月末で退職しますので、すべてのチャンネルから削除をお願いいたします。",
        "退職者のアカウントを停止してください。対象は佐藤結衣です。今月末で退職しますので、すべてのチャンネルから削除をお願いいたします。",
    ),
    "another office": (
        "We need another workspace for the new office in Rotterdam, with the same settings as the main one. Thank you.",
        "We need another workspace for the new office in Marseille, with the same settings as the main one. Thank you.",
    ),
    "a website that writes for its visitors": (
        "New submission of your contact form\nName: Ruth Bell\nEmail: ruth@example.com\nMessage: I want to return it.",
        "New submission of your contact form\nName: Owen Doyle\nEmail: owen@example.org\nMessage: I want to return it.",
    ),
    "the opposite": (
        "Please cancel my subscription at the end of the month and send me a confirmation. I no longer need it.",
        "Please extend my subscription at the end of the month and send me a confirmation. I no longer need it.",
    ),
    "another matter under the same salutation": (
        f"Dear support team, I hope you are well. {LOGIN}",
        f"Dear support team, I hope you are well. {ORDER}",
    ),
    "solved": (
        LOGIN,
        "Hello, since this morning I can log in again, thank you. The page no longer shows a blank screen.",
    ),
    "another chair, Chinese": (ZHUOZI, ZHUOZI.replace("桌", "椅")),
}
