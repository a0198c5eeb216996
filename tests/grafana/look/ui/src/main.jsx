// Draws the page whose description is at /data/<s>.json, and says so in window.lookReady.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import '@fontsource/inter/700.css';
import '@fontsource/roboto-mono';
import { createRoot } from 'react-dom/client';
import { createTheme, systemDateFormats, ThemeContext } from '@grafana/data';
import * as I18n from '@grafana/i18n';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { register } from './fields.js';
import { Page } from './page.jsx';

const asked = new URLSearchParams(location.search);
const page = await (await fetch(`/data/${asked.get('s')}.json`)).json();

// "Since" and "ago" are counted from the end of the range, so that a kept history does not age.
const started = performance.now();
Date.now = () => page.to + Math.round(performance.now() - started);

await I18n.initializeI18n?.({ language: 'en-US' }, 'grafana');
await I18n.initDefaultI18nInstance?.();
register();
const { full_date: fullDate, ...others } = page.dates;
const interval = Object.fromEntries(
  Object.entries(others).map(([name, format]) => [name.replace('interval_', ''), format]),
);
systemDateFormats.update({
  fullDate: fullDate ?? systemDateFormats.fullDate,
  interval: { ...systemDateFormats.interval, ...interval },
});
// Text is measured before it is drawn: all three alphabets' fonts must be there.
await Promise.all(
  [400, 500, 700].flatMap((weight) =>
    ['a', 'ệ', 'đ'].map((letter) => document.fonts.load(`${weight} 14px Inter`, letter)),
  ),
);

const theme = createTheme({ colors: { mode: asked.get('theme') } });
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <Page page={page} theme={theme} />
    <PortalContainer />
  </ThemeContext.Provider>,
);
// Grafana's components measure themselves and draw again; two quiet seconds are more than they take.
setTimeout(() => (window.lookReady = true), 2000);
