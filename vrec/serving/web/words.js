// Texts of the page in the reader's language: English in the source, Chinese in zh.js.

const LANGUAGES = ["en", "zh"];

/** First language of the browser, as in Accept-Language, that the page has. */
export const language = navigator.languages.map((tag) => tag.toLowerCase().split("-")[0]).find((code) => LANGUAGES.includes(code)) ?? "en";
/** Language of numbers and prices. */
export const locale = language === "zh" ? "zh-Hans-CN" : "en";

const texts = language === "en" ? {} : (await import(`./${language}.js`)).default;

/** Returns a text of the source in the reader's language; values stand where the text has their names in braces. */
export function say(text, values = {}) {
  return (texts[text] ?? text).replace(/\{(\w+)\}/g, (name, key) => values[key] ?? name);
}

/** Returns one of two texts, which depends on the number `n` in it. */
export const counted = (one, many, n, values = {}) => say(n === 1 ? one : many, { n, ...values });

/** Returns texts as a list in words, such as "a, b and c". */
export const listed = (texts) => new Intl.ListFormat(language === "zh" ? "zh" : "en-GB").format(texts);

/** Returns the text of a reason, which the service writes in English, with the name in it as it is. */
export function sayReason(text) {
  if (texts[text]) return texts[text];
  for (const [pattern, own] of Object.entries(texts)) {
    const [before, after] = pattern.split("{}");
    if (after === undefined || !text.startsWith(before) || !text.endsWith(after)) continue;
    return own.replace("{}", () => text.slice(before.length, text.length - after.length));
  }
  return text;
}

/** Puts the reader's language into the document, whose own texts are English. */
export function translateDocument() {
  if (language === "en") return;
  document.documentElement.lang = "zh-Hans";
  document.title = say(document.title);
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const { currentNode: node } = walk;
    const text = node.data.trim();
    if (texts[text]) node.data = node.data.replace(text, () => texts[text]);
  }
  for (const name of ["placeholder", "aria-label"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) element.setAttribute(name, say(element.getAttribute(name)));
  }
}
