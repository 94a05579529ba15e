// Opens pages in Debian's chromium, with a new empty profile that is removed afterwards.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--font-render-hinting=none",
];

/** Runs `work(context)` in a fresh browser; browser and profile are gone when it ends, however it ends. */
export async function withBrowser({ width = 1280, height = 800, scale = 1 }, work) {
  const profile = await mkdtemp(join(tmpdir(), "drover-page-"));
  let context;
  try {
    context = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      args: ARGUMENTS,
      chromiumSandbox: false,
      viewport: { width, height },
      deviceScaleFactor: scale,
    });
    return await work(context);
  } finally {
    await context?.close();
    await rm(profile, { recursive: true, force: true });
  }
}

/** Waits until the page shows what it was opened for, with its fonts and pictures, and nothing is still being sent. */
export async function settled(page) {
  await page.locator(".page[data-ready=true]").waitFor();
  await page.locator("[aria-busy=true]").waitFor({ state: "detached" });
  await page.evaluate(async () => {
    await document.fonts.ready;
    await Promise.all([...document.images].filter((image) => !image.complete).map((image) => image.decode().catch(() => {})));
  });
}
