// The conversation with the assistant beside the feed: messages, answers with cards, and what is asked for so far.

import { nameOf } from "./cards.js";
import { $, el, showText } from "./dom.js";
import { flush } from "./events.js";
import { CardList } from "./lists.js";
import { now, random } from "./shopper.js";
import { conversation, converse, forget } from "./talk.js";
import { hold, release } from "./undo.js";
import { counted, language, say } from "./words.js";

const SURFACE = "assistant";
const BUTTONS = ["open", "like", "cart", "similar", "hide"];
/** Answers that keep their cards; of older ones the text is left. */
const WITH_CARDS = 5;
const wide = matchMedia("(min-width: 64rem)");

export class Assistant {
  #handlers;
  #onSeen;
  #onFound;
  #lists = [];
  #requests = 0;
  #busy = false;
  #restored = null;
  #unsent = null;
  #pending = null;
  #language = language;

  /** `onFound()` is called after each answer with cards that were asked for; the others are those of CardList. */
  constructor(handlers, onSeen, onFound) {
    this.#handlers = { ...handlers, similar: (item) => this.#askSimilar(item) };
    this.#onSeen = onSeen;
    this.#onFound = onFound;
    this.#setOpen(wide.matches);
    wide.addEventListener("change", () => this.#setOpen(wide.matches));
    this.#listen();
  }

  /** Lists of cards in the conversation. */
  get lists() {
    return this.#lists;
  }

  /** Promise that is kept once no answer is on its way. */
  get pending() {
    return this.#pending;
  }

  /** Shows the shopper's conversation, unless it is shown already. */
  async restore() {
    const shopper = now();
    if (this.#restored?.id === shopper.id) return this.#restored.done;
    const mine = ++this.#requests;
    const done = conversation(shopper).then(
      (found) => mine === this.#requests && this.#showAll(found),
      // The feed tells what is wrong, and the next list that arrives brings another attempt.
      () => mine === this.#requests && (this.#restored = null),
    );
    this.#restored = { id: shopper.id, done };
    return done;
  }

  /** Takes a conversation from the page, before that of another shopper is shown. */
  clear() {
    this.#requests += 1;
    this.#restored = null;
    this.#unsent = null;
    this.#setBusy(false);
    for (const list of this.#lists) list.clear();
    this.#lists = [];
    $("talk-list").replaceChildren();
    $("talk-said").textContent = "";
    showText($("talk-trouble"), null);
    this.#showAsked([]);
    this.#update();
  }

  #listen() {
    const message = $("assistant-message");
    $("assistant-toggle").addEventListener("click", () => {
      this.#setOpen($("assistant").hidden);
      ($("assistant").hidden ? $("assistant-toggle") : message).focus();
    });
    $("assistant-close").addEventListener("click", () => this.#close());
    $("assistant").addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && this.#close());
    document.querySelector('.skip[href="#assistant-message"]').addEventListener("click", () => this.#setOpen(true));
    $("assistant-forget").addEventListener("click", () => this.#forget());
    message.addEventListener("keydown", (event) => {
      // While characters are composed, as Chinese ones are, Enter chooses among them.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $("talk-form").requestSubmit();
    });
    $("talk-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = message.value.trim();
      if (text && !this.#busy) this.#send(text);
    });
  }

  #setOpen(is) {
    $("assistant").hidden = !is;
    $("assistant-toggle").setAttribute("aria-expanded", String(is));
    document.body.classList.toggle("talking", is);
  }

  #close() {
    this.#setOpen(false);
    $("assistant-toggle").focus();
  }

  /** Sends what was typed; if it cannot be sent it is in the box again. */
  async #send(text) {
    const message = $("assistant-message");
    message.value = "";
    // What could not be sent is the same message when it is sent again.
    const again = this.#unsent?.text === text ? this.#unsent.id : undefined;
    const id = again ?? `page-${random(12)}`;
    this.#unsent = null;
    const shopper = now();
    const sent = await this.#ask({ message: text, message_id: id }, text);
    if (sent || now().id !== shopper.id) return;
    this.#unsent = { text, id };
    message.value = message.value ? `${text}\n${message.value}` : text;
  }

  #askSimilar(item) {
    this.#ask({ like: [item.video_id], language: this.#language }, say("Similar to “{title}”", { title: nameOf(item) }));
  }

  /** Asks the assistant, and shows the answer as it comes; returns whether there is one. */
  #ask(fields, said) {
    if (this.#busy) return false;
    this.#setBusy(true);
    this.#pending = this.#askNow(fields, said);
    return this.#pending;
  }

  async #askNow(fields, said) {
    const shopper = now();
    await this.restore();
    if (now().id !== shopper.id) return false;
    const mine = ++this.#requests;
    showText($("talk-trouble"), null);
    const question = this.#append(el("li", { class: "said" }, el("p", {}, said)));
    const text = el("p", { class: "text" }, el("span", { class: "soft" }, say("Answering …")));
    const answer = this.#append(el("li", { class: "answer" }, text));
    this.#scrollTo(question);
    let heard = "";
    try {
      // What the shopper did is known before the answer; without it the answer is still worth having.
      await release();
      await flush().catch(() => {});
      const found = await converse(shopper, { message_id: `page-${random(12)}`, ...fields }, (piece) => {
        if (mine === this.#requests) text.textContent = heard += piece;
      });
      if (mine !== this.#requests) return false;
      for (const old of $("talk-list").querySelectorAll(".next")) old.remove();
      this.#showAnswer(answer, found);
      this.#showAsked(found.constraints);
      this.#speak(found);
      this.#scrollTo(question);
      if (found.kind === "cards") this.#onFound();
      return true;
    } catch (problem) {
      if (mine !== this.#requests) return false;
      question.remove();
      answer.remove();
      showText($("talk-trouble"), problem.status === 401 ? say("Enter an API key first.") : problem.message);
      return false;
    } finally {
      if (mine === this.#requests) this.#setBusy(false);
    }
  }

  #showAll({ turns, last }) {
    const lines = turns.flatMap((turn) => {
      const said = el("li", { class: "said" }, el("p", {}, turn.message || (turn.remove ? withoutKey(turn.remove) : say("Similar videos"))));
      const answer = el("li", { class: "answer" }, el("p", { class: "text", lang: langOf(turn) }, turn.text));
      const shown = turn.video_ids.length;
      if (shown && turn.turn !== last?.turn) answer.append(el("p", { class: "soft" }, counted("{n} video was shown.", "{n} videos were shown.", shown)));
      return [said, answer];
    });
    $("talk-list").replaceChildren(...lines);
    if (last && lines.length) {
      this.#showAnswer(lines.at(-1), last);
      this.#showAsked(last.constraints);
      this.#scrollTo(lines.at(-2));
    }
    this.#update();
  }

  /** Fills the place of an answer. Its text is never parsed as HTML. */
  #showAnswer(element, found) {
    const { text, cards, sources, suggestions } = found;
    this.#language = found.language;
    element.setAttribute("lang", langOf(found));
    const list = el("ol", { class: "cards" });
    const own = { lang: document.documentElement.lang };
    const next = suggestions.map((one) => el("button", { type: "button", onclick: (event) => this.#press(event, { message: one.message }, one.message) }, one.label));
    element.replaceChildren(
      el("p", { class: "text" }, text),
      ...(sources.length ? [el("ul", { class: "sources", ...own }, ...sources.map((source) => sourceItem(source, text, found)))] : []),
      ...(found.hand_over ? [el("p", { class: "person", ...own }, say("Passed on to a person, with this conversation."))] : []),
      ...(found.degraded ? [el("p", { class: "soft", ...own }, say("A part of the service is unavailable, so this answer may lack something."))] : []),
      ...(cards.length ? [el("div", own, list)] : []),
      ...(next.length ? [el("p", { class: "next" }, ...next)] : []),
    );
    if (cards.length) this.#showCards(list, found);
  }

  #showCards(element, { cards, request_id, currency }) {
    const list = new CardList(element, this.#handlers, this.#onSeen, BUTTONS);
    list.show({ items: cards, request_id, currency }, SURFACE);
    this.#lists.push(list);
    if (this.#lists.length <= WITH_CARDS) return;
    const old = this.#lists.shift();
    old.clear();
    old.element.parentElement.replaceWith(el("p", { class: "soft" }, say("The cards of this answer are no longer shown.")));
  }

  /** Shows what is asked for, each with a button that takes it back. */
  #showAsked(constraints) {
    const chips = constraints.map(({ key, label }) => {
      const title = say("Remove: {label}", { label });
      const onclick = (event) => this.#press(event, { remove: key, language: this.#language }, say("Without: {label}", { label }));
      return el("li", {}, el("button", { type: "button", title, "aria-label": title, onclick }, el("span", { class: "label" }, label), el("span", { "aria-hidden": "true" }, "×")));
    });
    $("asked").replaceChildren(...chips);
    $("asked").hidden = !chips.length;
  }

  /** Asks by a button, which is gone with the answer; so the focus goes to the conversation. */
  #press({ currentTarget }, fields, said) {
    if (this.#busy) return;
    if (currentTarget === document.activeElement) $("talk").focus({ preventScroll: true });
    this.#ask(fields, said);
  }

  /** Tells screen readers of an answer once, and not of each of its pieces. */
  #speak({ text, cards, hand_over: handOver }) {
    const parts = [text, cards.length ? counted("{n} video.", "{n} videos.", cards.length) : "", handOver ? say("Passed on to a person, with this conversation.") : ""];
    $("talk-said").textContent = parts.filter(Boolean).join(" ");
  }

  #forget() {
    const shopper = now();
    this.clear();
    this.#restored = { id: shopper.id, done: Promise.resolve() };
    const undo = () => {
      this.#restored = null;
      this.restore();
    };
    const send = () => forget(shopper).catch((problem) => now().id === shopper.id && showText($("talk-trouble"), problem.message));
    hold(say("The conversation is forgotten."), send, undo);
    $("assistant-message").focus();
  }

  #append(element) {
    $("talk-list").append(element);
    this.#update();
    return element;
  }

  #scrollTo(element) {
    $("talk").scrollTop = element.offsetTop;
  }

  #setBusy(is) {
    this.#busy = is;
    $("talk-list").setAttribute("aria-busy", String(is));
    $("talk-form").querySelector("button").disabled = is;
  }

  #update() {
    const empty = !$("talk-list").children.length;
    $("talk-hint").hidden = !empty;
    $("assistant-forget").hidden = empty;
  }
}

const langOf = ({ language: code }) => (code === "zh" ? "zh-Hans" : code);

/** Names what was taken back by its key, such as `color:red`, whose label is not kept. */
const withoutKey = (key) => say("Without: {label}", { label: key.slice(key.indexOf(":") + 1) });

function sourceItem({ title, anchor, quote }, text, found) {
  const cite = el("cite", {}, title && !text.includes(title) ? `${title} (${anchor})` : anchor);
  const quoted = text.includes(quote) ? null : el("blockquote", { lang: langOf(found) }, quote);
  return el("li", {}, quoted, el("span", { class: "soft" }, `${say("Source:")} `), cite);
}
