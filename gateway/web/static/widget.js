/* Frontdesk chat widget. <script src="https://desk.example/chat/website/widget.js" defer></script>
 *
 * Before that line a page may set window.frontdeskChat = {identity: {id, email, name, hash}, jwt, locale, open: true}.
 * A message is kept in localStorage until the desk says it is stored; on every reconnect what is kept is sent again,
 * and the desk knows it by its client_msg_id. Where WebSockets do not get through, messages go by POST.
 */
(() => {
  "use strict";
  const base = new URL(".", document.currentScript.src);
  const inbox = base.pathname.split("/").slice(-2)[0];
  const config = window.frontdeskChat || {};
  const WORDS = {
    en: ["Chat with us", "Close", "Write a message", "Send", "Sending…", "Sent", "Waiting for the connection…", "Not taken: ", "Ask us anything. We answer here.", "You", "Support"],
    nl: ["Chat met ons", "Sluiten", "Schrijf een bericht", "Versturen", "Bezig…", "Verstuurd", "Wachten op verbinding…", "Niet aangenomen: ", "Stel je vraag. We antwoorden hier.", "Jij", "Support"],
    it: ["Chatta con noi", "Chiudi", "Scrivi un messaggio", "Invia", "Invio…", "Inviato", "In attesa della connessione…", "Non accettato: ", "Chiedi pure. Rispondiamo qui.", "Tu", "Assistenza"],
    es: ["Chatea con nosotros", "Cerrar", "Escribe un mensaje", "Enviar", "Enviando…", "Enviado", "Esperando la conexión…", "No aceptado: ", "Pregúntanos. Respondemos aquí.", "Tú", "Soporte"],
    ru: ["Чат с нами", "Закрыть", "Напишите сообщение", "Отправить", "Отправляется…", "Отправлено", "Ждём соединения…", "Не принято: ", "Спрашивайте. Мы ответим здесь.", "Вы", "Поддержка"],
    zh: ["與我們聊天", "關閉", "輸入訊息", "送出", "傳送中…", "已送出", "等待連線…", "未被接受：", "歡迎提問，我們會在這裡回覆。", "您", "客服"],
  };
  const locale = config.locale || document.documentElement.lang || navigator.language || "en";
  const words = WORDS[locale.slice(0, 2).toLowerCase()] || WORDS.en;
  const [TITLE, CLOSE, WRITE, SEND, SENDING, SENT, WAITING, REFUSED, HELLO, YOU, DESK] = words;

  /* What must survive a reload. Where storage is forbidden it lives as long as the page. */
  const memory = {};
  const prefix = `frontdesk:${base.host}:${inbox}:`;
  const store = {
    get(key) { try { return localStorage.getItem(prefix + key); } catch { return memory[key] ?? null; } },
    set(key, value) { memory[key] = value; try { localStorage.setItem(prefix + key, value); } catch { /* full or forbidden */ } },
    drop(key) { delete memory[key]; try { localStorage.removeItem(prefix + key); } catch { /* forbidden */ } },
    keys() {
      try { return Object.keys(localStorage).filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length)); }
      catch { return Object.keys(memory); }
    },
  };
  /* One entry a message, so that two tabs do not overwrite each other's. */
  const kept = () => store.keys().filter((key) => key.startsWith("m:")).map((key) => JSON.parse(store.get(key))).sort((a, b) => a.at - b.at);
  const keep = (message) => store.set(`m:${message.id}`, JSON.stringify(message));

  const make = (tag, props = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children);
    return node;
  };
  const host = make("div", { id: "frontdesk-chat" });
  const shadow = host.attachShadow({ mode: "open" });
  const root = make("div", { className: "root" });
  const toggle = make("button", { type: "button", className: "toggle" });
  const panel = make("section", { className: "panel", hidden: true, id: "panel" });
  const title = make("h2", { textContent: TITLE });
  const close = make("button", { type: "button", className: "close", textContent: "×" });
  const note = make("p", { className: "note" });
  const log = make("ol", { className: "log", tabIndex: 0 });
  const label = make("label", { className: "hidden", htmlFor: "text", textContent: WRITE });
  const text = make("textarea", { id: "text", placeholder: WRITE, maxLength: 10000, rows: 2 });
  const form = make("form", {}, label, text, make("button", { type: "submit", className: "send", textContent: SEND }));
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M4 3h16a2 2 0 0 1 2 2v11a2 2 0 0 1-2 2H9l-5 4v-4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z");
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("aria-hidden", "true");
  icon.append(path);
  toggle.append(icon);
  const describe = (node, attributes) => Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  describe(toggle, { "aria-label": TITLE, "aria-expanded": "false", "aria-controls": "panel" });
  describe(panel, { role: "dialog", "aria-label": TITLE });
  describe(close, { "aria-label": CLOSE });
  describe(note, { role: "status" });
  describe(log, { role: "log", "aria-live": "polite", "aria-label": TITLE });
  panel.append(make("header", {}, title, close), note, log, form);
  root.append(make("link", { rel: "stylesheet", href: new URL("widget.css", base).href }), panel, toggle);
  root.lang = locale;
  shadow.append(root);

  /* The conversation on screen: everything is text, nothing a stranger wrote is ever markup. */
  const shown = new Map();
  const show = (id, from, words, state) => {
    let item = shown.get(id);
    if (!item) {
      const who = make("span", { className: "hidden", textContent: `${from === "visitor" ? YOU : DESK}: ` });
      item = make("li", { className: from }, who, make("p", { className: "text", textContent: words }), make("p", { className: "state" }));
      shown.set(id, item);
      log.append(item);
      log.scrollTop = log.scrollHeight;
    }
    item.lastChild.textContent = state || "";
    item.classList.toggle("failed", (state || "").startsWith(REFUSED));
    return item;
  };
  const showKept = () => kept().forEach((message) => show(message.id, "visitor", message.text, message.sent ? SENT : SENDING));
  const settle = (id, sent, why) => {
    const message = JSON.parse(store.get(`m:${id}`) || "null");
    if (!message) return;
    if (sent) keep({ ...message, sent: true });
    else store.drop(`m:${id}`);
    show(id, "visitor", message.text, sent ? SENT : REFUSED + why);
    kept().filter((old) => old.sent).slice(0, -50).forEach((old) => store.drop(`m:${old.id}`));
  };

  /* Talking to the desk. */
  let socket = null, joined = false, seq = 0, tries = 0, timer = 0, started = false, heard = 0;
  const post = async (route, body) => {
    const answer = await fetch(new URL(route, base), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "omit" });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said;
    throw Object.assign(new Error(said.error || answer.statusText), { status: answer.status, after: Number(answer.headers.get("Retry-After")) });
  };
  const claims = (jwt) => { try { return JSON.parse(atob(jwt.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub; } catch { return jwt; } };
  const forget = () => {
    kept().forEach((message) => store.drop(`m:${message.id}`));
    shown.clear();
    log.replaceChildren();
    seq = 0;
  };
  const where = () => ({ url: location.href.slice(0, 2000), title: document.title.slice(0, 300) });
  const session = async () => {
    const identity = JSON.stringify(config.identity || (config.jwt ? claims(config.jwt) : null));
    const before = store.get("identity");
    if (store.get("token") && before === identity) return store.get("token");
    /* A stranger who logs in keeps their messages; another person on the same computer must not see or send them. */
    if (before && before !== "null" && before !== identity) forget();
    const opened = await post("sessions", { identity: config.identity, jwt: config.jwt, page: where(), locale });
    store.set("token", opened.session_token);
    store.set("identity", identity);
    if (opened.title) title.textContent = opened.title;
    return opened.session_token;
  };
  const frame = (message) => ({ type: "message.send", client_msg_id: message.id, text: message.text, page: message.page, locale });
  const unsent = () => kept().filter((message) => !message.sent);
  const flush = () => { if (joined) unsent().forEach((message) => socket.send(JSON.stringify(frame(message)))); };
  const flushByPost = async (token) => {
    for (const message of unsent()) {
      try {
        await post("messages", { ...frame(message), token });
        settle(message.id, true);
      } catch (error) {
        if (error.status === 401) store.drop("token");
        if (![400, 413, 422].includes(error.status)) throw error;
        settle(message.id, false, error.message);
      }
    }
  };
  const retry = (seconds) => {
    clearTimeout(timer);
    /* Doubling up to a minute, and a random part so that a restart is not followed by everybody at once. */
    const wait = seconds || Math.min(60, 2 ** Math.min(tries++, 6)) * (0.5 + Math.random() / 2);
    timer = setTimeout(connect, wait * 1000);
    if (unsent().length) note.textContent = WAITING;
  };
  const hear = {
    joined(said) {
      joined = true;
      tries = 0;
      note.textContent = "";
      seq = Math.max(seq, said.seq || 0);
      said.history.forEach((entry) => {
        const mine = entry.from === "visitor";
        if (mine && store.get(`m:${entry.client_msg_id}`)) settle(entry.client_msg_id, true);
        else show(mine ? entry.client_msg_id : `s:${entry.seq}`, entry.from, entry.text, mine ? SENT : "");
      });
      flush();
    },
    "message.ack"(said) { settle(said.client_msg_id, true); if (!unsent().length) note.textContent = ""; },
    "message.nack"(said) {
      note.textContent = WAITING;
      clearTimeout(timer);
      timer = setTimeout(flush, said.retry_after * 1000);
    },
    error(said) {
      if (said.code === "session_unknown") store.drop("token");
      else if (said.client_msg_id) settle(said.client_msg_id, false, said.message);
    },
  };
  const connect = async () => {
    clearTimeout(timer);
    if (socket && socket.readyState < WebSocket.CLOSING) return;
    let token;
    try {
      token = await session();
    } catch (error) {
      if (error.status === 403) { note.textContent = REFUSED + error.message; return; }
      retry(error.after);
      return;
    }
    const address = new URL("ws", base);
    address.protocol = address.protocol.replace("http", "ws");
    const mine = socket = new WebSocket(address);
    mine.onopen = () => mine.send(JSON.stringify({ type: "join", token, last_seq: seq }));
    mine.onmessage = (event) => { heard = Date.now(); const said = JSON.parse(event.data); (hear[said.type] || (() => {}))(said); };
    mine.onclose = async () => {
      const opened = joined;
      joined = false;
      if (!opened && store.get("token")) {
        try { await flushByPost(token); } catch { /* tried again below */ }
        showKept();
      }
      retry();
    };
  };
  setInterval(() => {
    if (!joined) return;
    if (Date.now() - heard > 75000) socket.close(); /* the network went away without saying so */
    else socket.send('{"type":"ping"}');
  }, 30000);
  addEventListener("online", () => { tries = 0; if (started) connect(); });

  const start = () => { if (!started) { started = true; showKept(); connect(); } };
  const open = (opening = panel.hidden) => {
    panel.hidden = !opening;
    root.classList.toggle("open", opening);
    toggle.setAttribute("aria-expanded", String(opening));
    if (!opening) { toggle.focus(); return; }
    start();
    if (!log.children.length) show("hello", "agent", HELLO);
    text.focus();
  };
  toggle.onclick = () => open();
  close.onclick = () => open(false);
  panel.onkeydown = (event) => { if (event.key === "Escape") open(false); };
  text.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    const words = text.value.trim();
    if (!words) return;
    const id = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`;
    const message = { id, text: words, at: Date.now(), page: where(), sent: false };
    keep(message);
    show(id, "visitor", words, SENDING);
    text.value = "";
    if (joined) socket.send(JSON.stringify(frame(message)));
    else connect();
  };
  const attach = () => {
    document.body.append(host);
    if (config.open) open(true);
    else if (unsent().length) start();
  };
  if (document.body) attach();
  else addEventListener("DOMContentLoaded", attach);
})();
