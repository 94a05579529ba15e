// Plays one scene in the workspace's page as a person would, and prints what the person saw as one JSON object:
//   node drive.mjs URL SCENE [FOLDER-FOR-PICTURES]
import { join } from "node:path";
import { settled, withBrowser } from "./browser.mjs";

const [url, scene, pictures] = process.argv.slice(2);
const WAIT_MS = 60_000; // only a scene that fails waits so long

const at = (as, channel, thread) => `${url}#${new URLSearchParams({ as, channel, ...(thread ? { thread } : {}) })}`;

async function open(context, as, channel, prepare) {
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  page.on("console", (line) => line.type() === "error" && problems.push(line.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  await prepare?.(page);
  await page.goto(at(as, channel));
  await settled(page);
  return page;
}

const problems = [];
const picture = async (page, name) => pictures && page.screenshot({ path: join(pictures, `${name}.png`), animations: "disabled" });
const composer = (page) => page.locator("main .composer textarea");
const messages = (page) => page.locator("main article.message");
const last = (page) => messages(page).last();
const textOf = (locator) => locator.innerText();

/** What of the page is read, seen or heard, but for what the app and people wrote, names and times. */
const chrome = () => {
  const theirs = ".blocks, .library, .message-text, .home-view, .author, .person-name > :not(small), time, .day, .row-name, kbd";
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    const mine = parent.closest(".field-error, .optional") ?? !parent.closest(theirs);
    if (mine && node.textContent.trim()) found.push(node.textContent.trim());
  }
  for (const name of ["aria-label", "title", "placeholder"])
    for (const node of document.querySelectorAll(`[${name}]`))
      if (!node.closest(`${theirs}, article, .suggestions [role=option]`)) found.push(node.getAttribute(name));
  return [document.title, ...found];
};

/** In the page: a close is answered right after the socket told what is open now, before that is drawn. */
function answerBeforeDrawing() {
  window.met = 0;
  let closing = null;
  const fetched = window.fetch;
  window.fetch = async (...asked) => {
    if (!String(asked[0]).includes("view_close")) return fetched(...asked);
    closing = {};
    const mine = closing;
    mine.answered = new Promise((resolve) => (mine.answer = resolve));
    const told = new Promise((resolve) => (mine.tell = resolve));
    const response = await fetched(...asked);
    const body = await response.json();
    mine.answer();
    await told;
    return { ok: response.ok, status: response.status, json: async () => body };
  };
  window.WebSocket = class extends WebSocket {
    set onmessage(hear) {
      super.onmessage = async (frame) => {
        const mine = JSON.parse(frame.data).type === "view" ? closing : null;
        await mine?.answered;
        hear(frame);
        if (!mine) return;
        closing = null;
        window.met++;
        mine.tell();
      };
    }
  };
}

const scenes = {
  async chrome(context) {
    const page = await open(context, "U0ANA", "C0OPS");
    const read = new Set();
    const look = async () => (await page.evaluate(chrome)).forEach((each) => read.add(each));
    await look();
    await composer(page).pressSequentially("/kv");
    await page.locator(".suggestions").waitFor();
    await look();
    await composer(page).fill("");
    await last(page).locator(".message-tools button").last().click();
    await page.locator("aside.thread").waitFor();
    await look();
    await last(page).getByRole("button", { name: "Approve" }).click();
    await page.locator("dialog.confirm").waitFor();
    await look();
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    await last(page).getByRole("button", { name: "Deny…" }).click();
    await page.locator("dialog.modal").waitFor();
    await page.locator("dialog.modal button[type=submit]").click();
    await page.locator(".field-error").first().waitFor();
    await look();
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    await page.goto(at("U0ANA", "home"));
    await page.locator(".home-view").waitFor();
    await look();
    await picture(page, "chrome");
    return { read: [...read] };
  },

  async completion(context) {
    const page = await open(context, "U0ANA", "C0OPS");
    await composer(page).pressSequentially("/kv");
    await page.getByRole("option").first().waitFor();
    const commands = await page.getByRole("option").allInnerTexts();
    await composer(page).press("Tab");
    const afterTab = await composer(page).inputValue();
    await composer(page).pressSequentially("mig");
    await page.getByRole("option", { name: "/kvm migrate" }).waitFor();
    await picture(page, "completion");
    await composer(page).press("ArrowDown");
    await composer(page).press("Enter");
    const afterEnter = await composer(page).inputValue();
    await composer(page).pressSequentially("web-1 to host-b");
    await composer(page).press("Enter");
    await page.getByRole("heading", { name: "Migrate web-1 to host-b" }).waitFor();
    await settled(page);
    await picture(page, "approval");
    return { commands, afterTab, afterEnter, author: await textOf(last(page).locator(".byline")) };
  },

  async approve(context) {
    const ana = await open(context, "U0ANA", "C0OPS");
    const bruno = await open(context, "U0BRUNO", "C0OPS");
    const button = last(bruno).getByRole("button", { name: "Approve" });
    await button.click();
    const dialog = bruno.getByRole("dialog");
    const asked = await textOf(dialog);
    await picture(bruno, "confirm");
    await bruno.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await button.click();
    await dialog.getByRole("button", { name: "Not yet" }).click();
    await dialog.waitFor({ state: "detached" });
    const stillThere = await last(bruno).getByRole("button", { name: "Approve" }).isEnabled();
    await button.click();
    await dialog.getByRole("button", { name: "Approve" }).click();
    // Ana's page follows by itself.
    await last(ana).getByText("approved by @Bruno Lima").waitFor();
    await last(ana).getByText("(edited)").waitFor();
    return { asked, stillThere, buttonsLeft: await last(ana).getByRole("button", { name: "Approve" }).count() };
  },

  async inFlight(context) {
    const page = await open(context, "U0BRUNO", "C0OPS", async (page) => {
      // Held back so that the moment between click and answer can be looked at.
      await page.route("**/lab/api/action", async (route) => {
        await page.locator("button[aria-busy=true]").waitFor();
        held.push(await last(page).locator(".actions button:disabled").count());
        await route.continue();
      });
    });
    const held = [];
    await last(page).getByRole("button", { name: "Details" }).click();
    await page.getByText("details only for you").waitFor();
    // The message comes by the socket and may be there before the click's own answer.
    await settled(page);
    return { disabledMeanwhile: held, enabledAfter: await page.locator(".actions button:disabled").count() };
  },

  async modal(context) {
    const page = await open(context, "U0CARLA", "C0OPS");
    await last(page).getByRole("button", { name: "Deny…" }).click();
    const dialog = page.getByRole("dialog", { name: "Deny op-17" });
    await dialog.waitFor();
    const focusFirst = await page.evaluate(() => document.activeElement.tagName);
    await dialog.getByRole("button", { name: "Deny", exact: true }).click();
    const required = await textOf(dialog.locator("[data-block-id=reason] [role=alert]"));
    await dialog.getByLabel("Reason").fill("too soon");
    await dialog.getByRole("combobox", { name: "Suggest a host" }).click();
    await page.getByRole("option").nth(2).waitFor();
    const offered = await page.getByRole("option").allInnerTexts();
    await page.keyboard.type("c");
    await page.getByRole("option", { name: "host-a" }).waitFor({ state: "detached" });
    await picture(page, "modal");
    await page.keyboard.press("Enter");
    await dialog.getByLabel("Try again on").fill("2031-05-04");
    const people = dialog.getByRole("combobox", { name: "Tell also" });
    await people.click();
    await page.keyboard.type("gil");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Escape");
    await dialog.getByRole("radio", { name: "fast" }).check();
    await dialog.getByRole("checkbox", { name: "Copy storage" }).check();
    await dialog.getByRole("button", { name: "More…" }).click();
    const onTop = page.getByRole("dialog", { name: "More" });
    await onTop.getByText("A view on top").waitFor();
    await onTop.getByRole("button", { name: "Back" }).last().click();
    await dialog.getByLabel("Reason").waitFor();
    const keptReason = await dialog.getByLabel("Reason").inputValue();
    await dialog.getByRole("button", { name: "Deny", exact: true }).click();
    await dialog.getByText("Please say a little more").waitFor();
    const refused = await textOf(dialog.locator("[data-block-id=reason] [role=alert]"));
    await picture(page, "modal-error");
    await dialog.getByLabel("Reason").fill("host-b is reserved tonight");
    await dialog.getByRole("button", { name: "Deny", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByText("Denied by @Carla Dias: host-b is reserved tonight").waitFor();
    return { focusFirst, required, offered, keptReason, refused };
  },

  async backAtOnce(context) {
    await context.addInitScript(answerBeforeDrawing);
    const page = await open(context, "U0CARLA", "C0OPS");
    await last(page).getByRole("button", { name: "Deny…" }).click();
    const dialog = page.getByRole("dialog", { name: "Deny op-17" });
    await dialog.getByRole("button", { name: "More…" }).click();
    const onTop = page.getByRole("dialog", { name: "More" });
    await onTop.getByRole("button", { name: "Back" }).last().click();
    await dialog.getByLabel("Reason").waitFor();
    return { met: await page.evaluate(() => window.met) };
  },

  async loadsMeanwhile(context) {
    let hear;
    const heard = new Promise((resolve) => (hear = resolve));
    const page = await open(context, "U0CARLA", "C0OPS", async (page) => {
      page.on("websocket", (socket) =>
        socket.on("framereceived", ({ payload }) => String(payload).includes("said meanwhile") && hear()),
      );
      await page.route(/lab\/api\/history.*C0OPS/, async (route) => {
        const response = await route.fetch(); // of before
        const said = { as: "U0CARLA", channel: "C0OPS", text: "said meanwhile" };
        await page.request.post(new URL("lab/api/say", url).href, { data: said });
        await heard;
        await route.fulfill({ response });
      });
    });
    return { shown: await page.getByText("said meanwhile").count() };
  },

  async focusStays(context) {
    const page = await open(context, "U0CARLA", "C0OPS");
    await last(page).getByRole("button", { name: "Deny…" }).click();
    await page.getByRole("dialog").waitFor();
    const outside = [];
    for (let press = 0; press < 40; press++) {
      await page.keyboard.press("Tab");
      const escaped = await page.evaluate(() => {
        const node = document.activeElement;
        return node === document.body || node.closest("dialog") ? null : node.outerHTML.slice(0, 80);
      });
      if (escaped) outside.push(escaped);
    }
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    return { outside };
  },

  async choices(context) {
    const page = await open(context, "U0BRUNO", "C0OPS");
    await last(page).getByRole("combobox").click();
    await page.getByRole("option", { name: "postcopy" }).click();
    await page.waitForFunction(() => document.querySelectorAll("main article [role=combobox]:disabled").length === 0);
    const shown = await last(page).getByRole("combobox").inputValue();
    await last(page).getByRole("button", { name: "More actions" }).click();
    await page.keyboard.press("ArrowDown");
    const sent = page.waitForResponse("**/lab/api/action");
    await page.keyboard.press("Enter");
    await sent;
    return { shown };
  },

  async people(context) {
    const page = await open(context, "U0ANA", "C0OPS");
    await composer(page).fill("/kvm help");
    await composer(page).press("Enter");
    await page.getByText("Only visible to you").waitFor();
    await picture(page, "ephemeral");
    const note = last(page);
    const seen = await textOf(note);
    const code = await textOf(note.locator("pre"));
    // Clicked, not checked: who is looked at changes with the address, a moment later
    await page.getByRole("radio", { name: /Bruno Lima/ }).click({ force: true });
    await page.waitForURL(/as=U0BRUNO/);
    await settled(page);
    await composer(page).waitFor();
    const othersSee = await page.getByText("Only visible to you").count();
    await page.getByRole("radio", { name: /Ana Souza/ }).click({ force: true });
    await page.waitForURL(/as=U0ANA/);
    await page.getByText("Only visible to you").waitFor();
    await page.getByRole("button", { name: "Dismiss message" }).click();
    await page.getByText("Only visible to you").waitFor({ state: "detached" });
    return { seen, code, othersSee, roles: await page.locator(".person-name small").allInnerTexts() };
  },

  async threads(context) {
    const page = await open(context, "U0ANA", "C0OPS");
    await composer(page).fill("/kvm progress");
    await composer(page).press("Enter");
    await last(page).getByText("moving 80 %").waitFor();
    await page.getByRole("button", { name: /1 reply/ }).click();
    const thread = page.getByRole("complementary", { name: "Thread" });
    await thread.getByText("Started by @Bruno Lima").waitFor();
    await thread.getByRole("combobox").pressSequentially("@dro");
    await page.getByRole("option", { name: /@drover/ }).waitFor();
    await page.keyboard.press("Enter");
    await page.keyboard.type("status of a<b & c?");
    await page.keyboard.press("Enter");
    await thread.getByText("At your service").waitFor();
    await page.getByRole("button", { name: /3 replies/ }).waitFor();
    await picture(page, "thread");
    const typed = await textOf(thread.locator("article", { hasText: "status of" }));
    await thread.getByRole("combobox").fill("/kvm hosts");
    await page.keyboard.press("Enter");
    const refused = await textOf(page.locator(".toast"));
    return { typed, refused, edited: await last(page).getByText("(edited)").count() };
  },

  /** The library draws cards; their buttons work by delegation, after our own confirm dialog. */
  async delegated(context) {
    const given = JSON.parse(process.env.HISTORY);
    const sent = [];
    const page = await open(context, "U0ANA", "C0OPS", async (page) => {
      await page.route("**/lab/api/history*", (route) => route.fulfill({ json: { messages: given } }));
      await page.route("**/lab/api/action", (route) => {
        sent.push(route.request().postDataJSON());
        return route.fulfill({ json: { ok: true } });
      });
    });
    await last(page).getByText("Go").click();
    const dialog = page.getByRole("dialog");
    const asked = await textOf(dialog);
    await picture(page, "card");
    const answered = page.waitForResponse("**/lab/api/action");
    await dialog.getByRole("button", { name: "Approve" }).click();
    await answered;
    return { asked, sent };
  },

  async trouble(context) {
    const page = await open(context, "U0CARLA", "C0OPS", (page) =>
      page.route("**/lab/api/view_submit", (route) => route.fulfill({ json: { ok: false, error: "timeout" } })),
    );
    await last(page).getByRole("button", { name: "Deny…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill("host-b is reserved tonight");
    await dialog.getByRole("button", { name: "Deny", exact: true }).click();
    const told = await textOf(dialog.locator(".dialog-trouble"));
    await picture(page, "trouble");
    return { told, kept: await dialog.getByLabel("Reason").inputValue() };
  },

  async reactions(context) {
    const ana = await open(context, "U0ANA", "C0OPS");
    const bruno = await open(context, "U0BRUNO", "C0OPS");
    await last(bruno).hover();
    await last(bruno).getByRole("button", { name: "React with eyes" }).click();
    const chip = last(ana).getByRole("list", { name: "Reactions" }).getByRole("button");
    await chip.waitFor();
    await chip.click();
    await last(bruno).getByRole("list", { name: "Reactions" }).getByText("2").waitFor();
    return { by: await last(bruno).getByRole("list", { name: "Reactions" }).getByRole("button").getAttribute("title") };
  },

  async wrong(context) {
    const page = await open(context, "U0ANA", "C0OPS");
    await composer(page).fill("/nonsense now");
    await composer(page).press("Enter");
    await page.getByText("/nonsense is not a valid command").waitFor();
    return { by: await textOf(last(page).locator(".author")), toasts: await page.locator(".toast").count() };
  },

  async home(context) {
    const page = await open(context, "U0GIL", "home");
    await page.getByText("Hello @Gil Ramos").waitFor();
    await settled(page);
    await picture(page, "home");
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("Refreshed").waitFor();
    await page.getByRole("button", { name: "Messages" }).click();
    await composer(page).waitFor();
    return { title: await page.title(), chart: await page.locator("svg").count() };
  },

  async unread(context) {
    const bruno = await open(context, "U0BRUNO", "C0APPROVALS");
    const row = bruno.getByRole("button", { name: /ops/ });
    await row.click();
    await bruno.getByRole("button", { name: /approvals/ }).click();
    const before = await row.getAttribute("class");
    const ana = await open(context, "U0ANA", "C0OPS");
    await composer(ana).fill("@Bruno Lima look");
    await composer(ana).press("Enter");
    await bruno.locator(".row.unread .badge").waitFor();
    const badge = await textOf(bruno.locator(".row.unread .badge"));
    await row.click();
    await last(bruno).getByText("look").waitFor();
    await bruno.locator(".row.unread").waitFor({ state: "detached" });
    return { before, badge, mention: await textOf(last(bruno).locator(".mention-me")) };
  },

  async reconnect(context) {
    const page = await open(context, "U0ANA", "C0OPS", (page) =>
      page.addInitScript(() => {
        const Real = window.WebSocket;
        window.sockets = [];
        window.cut = false;
        window.WebSocket = class extends Real {
          constructor(address) {
            // While the line is cut, nothing listens at the other end.
            super(window.cut ? "ws://127.0.0.1:9/" : address);
            window.sockets.push(this);
          }
        };
      }),
    );
    await page.evaluate(() => {
      window.cut = true;
      window.sockets.forEach((socket) => socket.close());
    });
    const banner = page.getByText("Connection lost. Reconnecting…");
    await banner.waitFor();
    await page.evaluate(() =>
      fetch("lab/api/say", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ as: "U0BRUNO", channel: "C0OPS", text: "said while the line was cut" }),
      }),
    );
    const early = await page.getByText("said while the line was cut").count();
    await page.evaluate(() => (window.cut = false));
    await page.getByText("said while the line was cut").waitFor();
    await banner.waitFor({ state: "detached" });
    // What a cut line logs is no fault of the page.
    problems.splice(0, problems.length, ...problems.filter((line) => !line.includes("ws://127.0.0.1:9/")));
    return { early };
  },

  /** Blocks and texts the workspace would refuse or that no test app sends are put into the history. */
  async drawing(context) {
    const given = JSON.parse(process.env.HISTORY);
    const page = await open(context, "U0ANA", "C0OPS", (page) =>
      page.route("**/lab/api/history*", (route) => route.fulfill({ json: { messages: given } })),
    );
    await picture(page, "drawing");
    const drawn = {};
    for (const { ts } of given) {
      const body = page.locator(`main [data-ts="${ts}"] .message-main`);
      drawn[ts] = {
        text: await textOf(body),
        html: await body.locator(".mrkdwn").evaluateAll((nodes) => nodes.map((node) => node.innerHTML).join("\n")),
      };
    }
    return drawn;
  },

  async narrowDark(context) {
    const page = await open(context, "U0BRUNO", "C0OPS", async (page) => {
      await page.setViewportSize({ width: 420, height: 800 });
      await page.emulateMedia({ colorScheme: "dark" });
    });
    const sidebar = page.getByRole("navigation", { name: "Workspace" });
    const before = await sidebar.isVisible();
    const width = (await page.locator("main").boundingBox()).width;
    await page.getByRole("button", { name: "Channels and people" }).click();
    await sidebar.getByRole("button", { name: "approvals" }).click();
    await page.getByRole("heading", { name: "approvals", exact: true }).waitFor();
    await sidebar.waitFor({ state: "hidden" });
    const scrollsAside = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    /** Lightness of what is drawn, 0 to 255. */
    const light = (property) =>
      page.locator("main").evaluate((node, name) => {
        const [red, green, blue] = getComputedStyle(node)[name].match(/\d+/g).map(Number);
        return (red + green + blue) / 3;
      }, property);
    return { before, width, scrollsAside, paper: await light("backgroundColor"), ink: await light("color") };
  },
};

if (!scenes[scene]) {
  console.error(`usage: node drive.mjs URL SCENE [FOLDER]; the scenes are ${Object.keys(scenes).join(", ")}`);
  process.exit(2);
}
const saw = await withBrowser({ width: 1280, height: 800 }, scenes[scene]);
console.log(JSON.stringify({ saw, problems }));
