// Takes one screenshot of the workspace's page:
//   node shoot.mjs URL OUT.png [--width 1280] [--height 800] [--scale 1] [--clip-selector CSS] [--wait-for CSS] [--padding 0]
// The URL's hash says whose eyes and where: http://127.0.0.1:PORT/#as=U0ANA&channel=C0OPS
import { parseArgs } from "node:util";
import { settled, withBrowser } from "./browser.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: "string", default: "1280" },
    height: { type: "string", default: "800" },
    scale: { type: "string", default: "1" },
    padding: { type: "string", default: "0" },
    "clip-selector": { type: "string" },
    "wait-for": { type: "string" },
  },
});
const [url, out] = positionals;
if (!url || !out) {
  console.error("usage: node shoot.mjs URL OUT.png [--width N] [--height N] [--scale N] [--clip-selector CSS] [--wait-for CSS] [--padding N]");
  process.exit(2);
}

const FRAME = 400; // what surrounds the messages: heads, composer

/** The box of what is to be seen, a little wider where asked; the window grows until all of it shows. */
async function clipOf(page, selector, padding) {
  const target = page.locator(selector).last();
  const { width, height } = page.viewportSize();
  const tall = (await target.boundingBox())?.height ?? 0;
  if (tall + FRAME > height) await page.setViewportSize({ width, height: Math.ceil(tall + FRAME) });
  await target.evaluate((node) => node.scrollIntoView({ block: "center" }));
  const box = await target.boundingBox();
  if (!box) throw new Error(`${selector} is on the page but not visible`);
  return {
    x: Math.max(0, box.x - padding),
    y: Math.max(0, box.y - padding),
    width: box.width + 2 * padding,
    height: box.height + 2 * padding,
  };
}

const size = { width: Number(values.width), height: Number(values.height), scale: Number(values.scale) };
await withBrowser(size, async (context) => {
  const page = context.pages()[0] ?? (await context.newPage());
  await page.goto(url);
  await settled(page);
  // The home tab is published when somebody looks; a picture has the time to wait for it.
  await page.waitForLoadState("networkidle");
  if (values["wait-for"]) await page.locator(values["wait-for"]).last().waitFor();
  const selector = values["clip-selector"];
  // Hover tools belong to a person's session, not to a picture.
  await page.mouse.move(0, 0);
  const clip = selector ? await clipOf(page, selector, Number(values.padding)) : undefined;
  await page.screenshot({ path: out, clip, animations: "disabled", caret: "hide" });
});
