// Switches in the player that tell on which other platform, where the shopper has a linked account, a video was watched.

import { linkedDomains } from "./api.js";
import { $, el } from "./dom.js";
import { say } from "./words.js";

export class Elsewhere {
  #domain = null;
  #requests = 0;

  /** Domain whose switch is on; null if the video is watched in the shop. */
  get domain() {
    return this.#domain;
  }

  /** Shows a switch, which is off, for each domain in which the shopper has a linked account. */
  async offer(shopper) {
    this.clear();
    const mine = ++this.#requests;
    let domains = [];
    try {
      ({ domains } = await linkedDomains(shopper));
    } catch {
      // Without the names of the domains there is nothing to choose from. The feed tells what is wrong.
    }
    if (mine === this.#requests) this.#show(domains);
  }

  clear() {
    this.#requests += 1;
    this.#show([]);
  }

  #show(domains) {
    this.#domain = null;
    $("player-elsewhere").replaceChildren(...domains.map((one, index) => this.#row(one, `elsewhere-${index}`)));
    $("player-elsewhere").hidden = !domains.length;
  }

  #row({ domain, counts }, noteId) {
    const label = say("I watched this on “{domain}”", { domain });
    const note = say("When this is on, the time counts for your linked account there, and not as watched in this shop.");
    const without = counts ? null : ` ${say("Your lists in this shop do not use what you watch there at present.")}`;
    const attributes = { type: "button", role: "switch", "aria-checked": "false", "aria-describedby": noteId, "data-domain": domain };
    const button = el("button", { ...attributes, onclick: () => this.#turn(domain) }, label);
    return el("div", {}, button, el("p", { id: noteId, class: "soft" }, note, without));
  }

  /** Turns the switch of a domain on or off; a video is watched in one place. */
  #turn(domain) {
    this.#domain = this.#domain === domain ? null : domain;
    for (const one of $("player-elsewhere").querySelectorAll("button")) {
      one.setAttribute("aria-checked", String(one.dataset.domain === this.#domain));
    }
  }
}
